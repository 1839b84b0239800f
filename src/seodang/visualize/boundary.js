
// The film: a slider over the moments. Nothing moves by itself, and nothing at all for those who asked for less motion.
{
  const film = JSON.parse(document.getElementById("film").textContent), last = film.told.length - 1;
  const player = document.querySelector(".player"), slider = player.querySelector("input"), output = player.querySelector("output");
  const [play, back, on] = player.querySelectorAll("button");
  const ground = document.querySelector(".film .plane image"), curve = document.querySelector(".film .curve svg");
  const cells = document.querySelectorAll(".weights td"), equation = document.querySelector(".equation");
  const points = curve.dataset.plot ? JSON.parse(curve.dataset.plot).lines[0].points : [];
  const dot = document.createElementNS(SVG, "circle");
  for (const [key, value] of Object.entries({ r: 5, fill: "#d55e00", stroke: "#fff", "stroke-width": 1.5 })) dot.setAttribute(key, value);
  curve.append(dot);
  const show = place => {
    slider.value = place;
    output.textContent = film.told[place];
    slider.setAttribute("aria-valuetext", film.told[place]);
    ground.setAttribute("href", film.grounds[place]);
    cells.forEach((cell, index) => {
      cell.textContent = film.weights[place][index];
      const [paper, ink] = film.colours.length ? film.palette[film.colours[place][index]] : ["", ""];
      cell.style.background = paper;
      cell.style.color = ink;
    });
    if (equation) equation.textContent = film.equations[place];
    if (points[place]) { dot.setAttribute("cx", points[place][0]); dot.setAttribute("cy", points[place][1]); }
    back.disabled = place === 0;
    on.disabled = place === last;
  };
  let timer = 0;
  const pause = () => { clearInterval(timer); timer = 0; play.textContent = play.dataset.play; };
  play.addEventListener("click", () => {
    if (timer) return pause();
    if (Number(slider.value) === last) show(0);
    play.textContent = play.dataset.pause;
    timer = setInterval(() => {
      const place = Number(slider.value) + 1;
      if (place <= last) show(place);
      if (place >= last) pause();
    }, Math.min(300, Math.max(90, 12000 / film.told.length)));
  });
  const step = by => { pause(); show(Math.min(last, Math.max(0, Number(slider.value) + by))); };
  back.addEventListener("click", () => step(-1));
  on.addEventListener("click", () => step(1));
  slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const respect = () => { if (still.matches) pause(); play.hidden = still.matches; play.style.display = still.matches ? "none" : ""; };
  still.addEventListener("change", respect);
  respect();
  player.hidden = false;
  show(last);
}
