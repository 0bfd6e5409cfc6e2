"use strict";
const plan = JSON.parse(document.getElementById("plan").textContent);
const byId = (id) => document.getElementById(id);
const map = byId("map"), input = byId("rank"), said = byId("said"), legend = byId("legend");
const letter = (n) => (n < 26 ? "" : letter(Math.floor(n / 26) - 1)) + String.fromCharCode(97 + (n % 26));
const element = (tag, text, kind) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};

// A group is [index, ranks], or [index, drawn ranks, size, positions, previous ranks, next ranks] if not all are drawn.
const out = new Set(plan.out);
for (const mode of plan.modes) {
  mode.across = { host: new Set(mode.cut.host), domain: new Set(mode.cut.domain) };
  mode.of = new Map();
  mode.groups.forEach((group) => group[1].forEach((rank, at) => mode.of.set(rank, [group, at])));
}
function place(mode, rank) {
  const found = mode.of.get(rank);
  if (!found) return null;
  const [[index, ranks, size, positions, previous, next], at] = found;
  if (size) return { index, ranks, size, position: positions[at], previous: previous[at], next: next[at] };
  const count = ranks.length;
  return { index, ranks, size: count, position: at, previous: ranks[(at + count - 1) % count], next: ranks[(at + 1) % count] };
}

// The map: domains, in them hosts, in them ranks.
const drawn = plan.domains.flatMap((domain) => domain.hosts.flatMap((host) => host.ranks));
const known = plan.known;
const cell = [[16, 44], [64, 32], [256, 24], [1024, 22], [Infinity, 8]].find(([most]) => drawn.length <= most)[1];
const named = cell > 8;  // smaller cells have no room for text
map.classList.toggle("numbered", cell > 22);
map.classList.toggle("tiny", !named);
const columnsOf = (count) => {
  let columns = known.hosts ? 1 : 16;
  while (columns * columns < count) columns *= 2;
  return Math.min(count, columns);
};
map.style.setProperty("--cell", `${cell}px`);
map.style.setProperty("--text", `${Math.round(cell * 0.44)}px`);
map.style.setProperty("--cut", cell > 22 ? "4px" : "2px");
map.innerHTML = plan.domains.map((domain) => {
  const inner = domain.hosts.map((host) => {
    const head = known.hosts && named ? `<b>host ${host.host}</b>` : "";
    const ranks = host.ranks.map((rank) => `<i data-rank="${rank}"></i>`).join("");
    const columns = columnsOf(host.ranks.length), shape = `--columns:${columns};--rows:${Math.ceil(host.ranks.length / columns)}`;
    const about = known.hosts ? `title="host ${host.host}"` : "";
    return `<div class="host${known.hosts ? "" : " plain"}" style="${shape}" ${about}>${head}<div class="ranks">${ranks}</div></div>`;
  });
  const head = known.domains ? `<b>domain ${domain.domain}</b>` : "";
  return `<div class="domain${known.domains ? "" : " plain"}">${head}<div class="hosts">${inner.join("")}</div></div>`;
}).join("");
const cells = new Map([...map.querySelectorAll("i")].map((one) => [Number(one.dataset.rank), one]));

// `lighting` is false for the rank that is chosen at the start: its row is there, and all groups keep their colours.
let chosen = plan.modes[0], picked = null, lighting = false, lit = [];

const thumbnail = drawn.length > 1024 ? 64 : 56;  // pixels
// A thumbnail of each mode, in which the group of the rank stays lit.
function thumbnails() {
  const columns = Math.min(drawn.length, Math.max(8, 2 ** Math.ceil(Math.log2(Math.sqrt(drawn.length)))));
  const size = Math.max(1, Math.floor(thumbnail / columns)), gap = size > 4 ? 1 : 0;
  const style = getComputedStyle(document.documentElement);
  const colours = plan.colours.map((_, index) => style.getPropertyValue(`--c${index}`));
  const at = new Map(drawn.map((rank, index) => [rank, index]));
  const paint = (context, rank) => {
    const index = at.get(rank);
    context.fillRect((index % columns) * size, Math.floor(index / columns) * size, size - gap, size - gap);
  };
  for (const mode of plan.modes) {
    const canvas = mode.canvas, whole = document.createElement("canvas");
    whole.width = canvas.width = columns * size;
    whole.height = canvas.height = Math.ceil(drawn.length / columns) * size;
    const under = whole.getContext("2d"), context = canvas.getContext("2d");
    for (const [index, ranks] of mode.groups) {
      under.fillStyle = colours[index % colours.length];
      for (const rank of ranks) paint(under, rank);
    }
    mode.light = (rank) => {
      const here = rank === null ? null : place(mode, rank);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.globalAlpha = rank === null ? 1 : 0.2;
      context.drawImage(whole, 0, 0);
      context.globalAlpha = 1;
      if (here) {
        context.fillStyle = colours[here.index % colours.length];
        for (const one of here.ranks) paint(context, one);
      }
    };
    mode.light(null);
  }
}

for (const mode of plan.modes) {
  const label = element("label"), radio = element("input"), text = element("span", mode.name);
  radio.type = "radio";
  radio.name = "mode";
  radio.value = mode.name;
  radio.addEventListener("change", () => choose(mode));
  mode.radio = radio;
  mode.canvas = element("canvas");
  const counts = element("small", `${mode.counts} · ${mode.over}`);
  counts.title = "groups × ranks of each · what varies inside a group";
  text.append(counts);
  if (mode.reach) text.append(element("small", mode.reach));
  label.append(radio, text, mode.canvas);
  byId("modes").append(label);
}

function choose(mode) {
  chosen = mode;
  mode.radio.checked = true;
  lit = [];
  map.classList.remove("picked");
  for (const [rank, one] of cells) one.className = kind(rank), one.textContent = label(rank);
  legend.replaceChildren();
  for (const [level, across] of [["domain", known.domains ? "domains" : "hosts"], ["host", "hosts of one domain"]]) {
    if (!mode.cut[level].length) continue;
    const shown = element("span");
    shown.append(element("i", undefined, `c0 ${level}-cut`), ` in a group across ${across}`);
    legend.append(shown);
  }
  if (picked !== null) pick(picked, lighting);
}
function kind(rank) {
  const found = chosen.of.get(rank);
  if (!found) return out.has(rank) ? "none out" : "none";
  const index = found[0][0], across = ["domain", "host"].find((level) => chosen.across[level].has(index));
  return `c${index % plan.colours.length}${across ? ` ${across}-cut` : ""}`;
}
function label(rank) {
  const found = named && chosen.of.get(rank);
  return found ? letter(found[0][0]) : named ? "." : "";
}

function pick(rank, light = true) {
  lighting = light;
  const here = rank === null || !light ? null : place(chosen, rank);
  if (picked !== null && cells.has(picked)) cells.get(picked).classList.remove("me");
  const wanted = here ? here.ranks : [];
  if (wanted !== lit) {
    for (const one of lit) cells.get(one).classList.remove("lit"), cells.get(one).textContent = label(one);
    wanted.forEach((one, at) => {
      cells.get(one).classList.add("lit");
      if (named) cells.get(one).textContent = place(chosen, one).position;
    });
    lit = wanted;
  }
  map.classList.toggle("picked", light && rank !== null);
  if (rank !== null) cells.get(rank).classList.add("me");
  picked = rank;
  if (document.activeElement !== input) input.value = rank === null ? "" : rank;
  for (const mode of plan.modes) mode.light(light ? rank : null);
  if (light) remember();
  describe(rank);
}

// The address names the rank. Browsers refuse to change it many times a second.
let waiting = null;
function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(() => history.replaceState(null, "", picked === null ? "#" : `#rank=${picked}`), 200);
}
function remembered() {
  const found = /^#rank=(\d+)$/.exec(location.hash), rank = found && Number(found[1]);
  return cells.has(rank) ? rank : null;
}
addEventListener("hashchange", () => { if (remembered() !== null) pick(remembered()), reveal(); });

function describe(rank) {
  said.replaceChildren();
  if (rank === null) return;
  const table = element("table"), head = element("tr");
  for (const name of [`rank ${rank}`, "group", "position", "previous", "next", "ranks of the group"]) head.append(element("th", name));
  table.append(head);
  for (const mode of plan.modes) {
    const row = element("tr", undefined, mode === chosen ? "chosen" : ""), here = place(mode, rank);
    row.dataset.mode = mode.name;
    row.append(element("td", mode.name));
    if (!here) {
      row.append(element("td", "—"), element("td"), element("td"), element("td"), element("td", "in no group of this mode"));
    } else {
      const { index, ranks, size, position, previous, next } = here;
      row.append(element("td", `${letter(index)} (${index})`), element("td", `${position} of ${size}`, "number"));
      row.append(element("td", size > 1 ? previous : "—", "number"), element("td", size > 1 ? next : "—", "number"));
      const shown = ranks.length > 16 ? [...ranks.slice(0, 8), "…", ...ranks.slice(-2)] : ranks;
      row.append(element("td", shown.join(" ") + (size > ranks.length ? ` and ${size - ranks.length} that are not drawn` : "")));
    }
    table.append(row);
  }
  said.append(table);
}

// A map that scrolls under a pointer at rest brings another rank below it: that one was not pointed at.
let resting = false;
function reveal() {
  if (picked === null) return;
  resting = true;
  cells.get(picked).scrollIntoView({ block: "nearest", inline: "nearest" });
}
function point(event) {
  const one = event.target.closest("i[data-rank]");
  if (one) pick(Number(one.dataset.rank));
}
map.addEventListener("pointerover", (event) => { if (!resting) point(event); });
map.addEventListener("pointermove", (event) => { if (resting) resting = false, point(event); });
map.addEventListener("keydown", (event) => {
  const at = drawn.indexOf(picked), first = cells.get(drawn[0]).getBoundingClientRect();
  const row = Number(getComputedStyle(map.querySelector(".ranks")).getPropertyValue("--columns"));
  const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + row, ArrowUp: at - row, Home: 0, End: drawn.length - 1 };
  if (event.key === "Escape") pick(null);
  else if (!(event.key in steps)) return;
  else pick(drawn[Math.min(Math.max(at < 0 ? 0 : steps[event.key], 0), drawn.length - 1)]), reveal();
  event.preventDefault();
});
input.addEventListener("click", () => input.select());  // what is typed replaces the number
input.addEventListener("input", () => {
  const rank = input.value === "" ? null : Number(input.value);
  if (rank === null || cells.has(rank)) return pick(rank), reveal();
  pick(null);
  said.replaceChildren(element("p", plan.missing.replace("{rank}", input.value)));
});

input.placeholder = `0 to ${plan.world_size - 1}`;
input.max = plan.world_size - 1;
document.querySelector("main").hidden = false;
thumbnails();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", thumbnails);
choose(plan.modes.find((mode) => mode.name === plan.mode) || plan.modes[0]);
const start = remembered() ?? plan.rank;
pick(start ?? drawn.find((rank) => !out.has(rank)), start !== null);
if (start !== null) reveal();
