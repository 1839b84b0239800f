"""python -m seodang"""

from seodang.cli.app import main

if __name__ == "__main__":
    main()
