"use strict";
// Everything that comes from the server is put in as text, never as HTML.
const SAMPLES = 120; // one each half second: the last minute
const RETRY_MS = 5000;
const SILENT_MS = 4000;
const get = (id) => document.getElementById(id);
const histories = new Map();
document.documentElement.classList.remove("unscripted");
let paused = false;
let last = null;
let seen = null;
let heardAt = Date.now();

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function duration(seconds) {
  const whole = Math.floor(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h >= 48) return `${Math.floor(h / 24)} days`;
  return h ? `${h}:${String(m).padStart(2, "0")}:${String(s).padStart(2, "0")}` : `${m}:${String(s).padStart(2, "0")}`;
}

function ago(seconds) {
  if (seconds < 5) return "just now";
  return seconds < 60 ? `${Math.floor(seconds)} s ago` : `${Math.floor(seconds / 60)} min ago`;
}

function milliseconds(value) {
  if (value === null) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

// Keeps one child for each item, made once and changed from then on: a screen reader and the keyboard do not lose their place.
function each(parent, items, keyOf, create, change) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = String(keyOf(item, index));
    const child = old.get(key) || Object.assign(create(item), {});
    child.dataset.key = key;
    old.delete(key);
    change(child, item, index);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] || null);
  });
  old.forEach((child) => child.remove());
}

function list(name, items, keyOf, create, change) {
  each(get(name), items, keyOf, create, change);
  get(name).hidden = items.length === 0;
  get(`${name}-empty`).hidden = items.length > 0;
}

function facts(state) {
  each(get("facts").firstElementChild, state.facts, (fact) => fact.name,
    () => { const node = make("div"); node.append(make("dt"), make("dd")); node.lastChild.append(make("span"), " ", make("small")); return node; },
    (node, fact) => {
      node.dataset.tone = fact.tone;
      put(node.firstChild, fact.name);
      put(node.lastChild.firstChild, fact.value);
      put(node.lastChild.lastChild, fact.detail);
    });
}

function newVoice() {
  const node = make("li");
  const meter = make("span", "meter");
  meter.setAttribute("role", "meter");
  meter.setAttribute("aria-valuemin", "0");
  meter.setAttribute("aria-valuemax", "100");
  meter.append(make("i"));
  const dot = make("span", "dot");
  dot.setAttribute("aria-hidden", "true");
  node.append(dot, make("span", "who"), meter);
  return node;
}

function showVoice(node, voice) {
  node.className = `${voice.bot ? "bot" : "person"}${voice.speaking ? " speaking" : ""}`;
  put(node.children[1], voice.name);
  const meter = node.lastChild;
  meter.setAttribute("aria-valuenow", String(voice.level));
  meter.setAttribute("aria-valuetext", voice.speaking ? "speaking" : "silent");
  meter.setAttribute("aria-label", `Level of ${voice.name}`);
  meter.firstChild.style.transform = `scaleX(${voice.level / 100})`;
}

function newCall() {
  const node = make("article", "call");
  const top = make("div", "top");
  top.append(make("h3"), make("span", "pill"), make("span", "meta"));
  const body = make("div", "body");
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  body.append(make("ul", "voices"), canvas);
  node.append(top, body);
  return node;
}

function showCall(node, call) {
  const [title, phase, meta] = node.firstChild.children;
  const name = call.place || `Call ${call.number}`;
  put(title, name);
  put(phase, call.phase);
  phase.dataset.tone = call.tone;
  put(meta, [call.engine, duration(call.age_s), call.lag_ms >= 100 ? `${milliseconds(call.lag_ms)} behind` : "",
    call.round_trip_ms ? `${milliseconds(call.round_trip_ms)} to Discord` : ""].filter(Boolean).join(" · "));
  const voices = [...call.people, { ...call.bot, name: "Bot", bot: true }];
  each(node.lastChild.firstChild, voices, (voice, index) => (voice.bot ? "bot" : index), newVoice, showVoice);
  if (call.more_people) put(voiceRest(node), `and ${call.more_people} more`);
  const canvas = node.lastChild.lastChild;
  canvas.setAttribute("aria-label", `${name}: ${saying(call)}`);
  draw(canvas, histories.get(call.number));
}

function voiceRest(node) {
  const voices = node.lastChild.firstChild;
  const found = voices.querySelector(".rest") || voices.appendChild(make("li", "rest muted"));
  return found;
}

function saying(call) {
  const people = call.people.filter((one) => one.speaking).length;
  const who = [people ? `${people} ${people === 1 ? "person speaks" : "people speak"}` : "", call.bot.speaking ? "the bot speaks" : ""];
  return who.filter(Boolean).join(", ") || "nobody speaks";
}

function remember(calls) {
  const now = new Set(calls.map((call) => call.number));
  [...histories.keys()].filter((number) => !now.has(number)).forEach((number) => histories.delete(number));
  calls.forEach((call) => {
    if (!histories.has(call.number)) histories.set(call.number, []);
    const history = histories.get(call.number);
    history.push([Math.max(0, ...call.people.map((one) => (one.speaking ? Math.max(one.level, 12) : 0))),
      call.bot.speaking ? Math.max(call.bot.level, 12) : 0]);
    if (history.length > SAMPLES) history.shift();
  });
}

function draw(canvas, history) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !history) return;
  if (canvas.width !== Math.round(width * scale)) { canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale); }
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const step = width / SAMPLES;
  const lane = height / 2;
  ["--people", "--bot"].forEach((name, index) => {
    const middle = lane * index + lane / 2;
    pen.fillStyle = colour("--line");
    pen.fillRect(0, middle - 0.5, width, 1);
    pen.fillStyle = colour(name);
    history.forEach((sample, at) => {
      if (!sample[index]) return;
      const half = Math.max(2, (sample[index] / 100) * (lane / 2 - 2));
      const left = width - (history.length - at) * step;
      pen.beginPath();
      const bar = [left + step * 0.18, middle - half, Math.max(1.5, step * 0.64), 2 * half];
      if (pen.roundRect) pen.roundRect(...bar, 2); else pen.rect(...bar);
      pen.fill();
    });
  });
}

// What has a name, a state, and more of it in a line below.
function states(name, items) {
  list(name, items, (_item, index) => index,
    () => { const node = make("li"); node.append(make("span"), make("span", "pill"), make("span", "detail")); return node; },
    (node, item) => {
      put(node.children[0], item.name);
      put(node.children[1], item.state);
      node.children[1].dataset.tone = item.tone;
      put(node.children[2], item.detail);
      node.children[2].hidden = !item.detail;
    });
}

function processes(state) {
  get("processes-section").hidden = !state.processes;
  if (!state.processes) return;
  states("processes", state.processes);
  put(get("processes-count"), String(state.processes.length));
}

function engines(state) {
  states("engines", state.engines);
  put(get("engines-count"), `${state.busy} of ${state.capacity} in use`);
}

const LOW_MS = 0.5;
const HIGH_MS = 5000;
const onScale = (value) => Math.min(1, Math.max(0, Math.log(value / LOW_MS) / Math.log(HIGH_MS / LOW_MS)));

function stages(state) {
  each(get("stages").tBodies[0], state.stages, (stage) => stage.name,
    () => {
      const node = make("tr");
      const head = make("th");
      head.scope = "row";
      const range = make("div", "range");
      range.setAttribute("aria-hidden", "true");
      range.append(make("i"));
      head.append(make("span"), range);
      node.append(head, make("td", "number"), make("td", "number"));
      return node;
    },
    (node, stage) => {
      put(node.firstChild.firstChild, stage.name);
      put(node.children[1], milliseconds(stage.p50_ms));
      put(node.children[2], milliseconds(stage.p95_ms));
      const bar = node.firstChild.lastChild.firstChild;
      const [from, to] = [onScale(stage.p50_ms), onScale(stage.p95_ms)];
      bar.style.left = `${Math.min(from * 100, 98)}%`;
      bar.style.width = `${Math.max(0, to - from) * 100}%`;
    });
  get("stages").hidden = state.stages.length === 0;
  get("stages-empty").hidden = state.stages.length > 0;
}

function problems(state) {
  list("problems", state.problems, (problem) => `${problem.code} ${problem.cause}`,
    () => {
      const node = make("li");
      const what = make("div");
      what.append(make("span", "code"), document.createTextNode(" "), make("span", "cause"));
      node.append(what, make("span", "when"), make("p", "advice"));
      return node;
    },
    (node, problem) => {
      node.className = problem.level === "warning" ? "" : "error";
      put(node.firstChild.firstChild, problem.code);
      put(node.firstChild.lastChild, problem.cause);
      put(node.children[1], `${problem.count > 1 ? `${problem.count} times, ` : ""}${ago(problem.age_s)}`);
      put(node.children[2], problem.advice);
      node.children[2].hidden = !problem.advice;
    });
  put(get("problems-count"), state.problems.length ? String(state.problems.length) : "");
}

// A screen reader is told of what changes rarely and matters, not of levels.
function tell(state) {
  const now = { ready: state.ready, calls: state.running, waiting: state.waiting, problems: state.problems.length };
  if (seen) {
    const news = [];
    if (now.ready !== seen.ready) news.push(now.ready ? "The bot is ready." : `Not ready: ${state.why}`);
    if (now.calls !== seen.calls) news.push(`${now.calls} ${now.calls === 1 ? "call" : "calls"} now.`);
    if (now.waiting > seen.waiting) news.push(`${now.waiting} waiting.`);
    if (now.problems > seen.problems) news.push(`New problem: ${state.problems[0].code}.`);
    if (news.length) put(get("news"), news.join(" "));
  }
  seen = now;
}

function show(state) {
  put(get("ready"), state.ready ? "Ready" : "Not ready");
  get("ready").dataset.tone = state.ready ? "good" : "bad";
  put(get("why"), state.why);
  put(get("about"), `${state.version} · up ${duration(state.uptime_s)}`);
  document.title = `${state.ready ? "" : "! "}${state.running} ${state.running === 1 ? "call" : "calls"} · discordplex`;
  facts(state);
  list("calls", state.calls, (call) => call.number, newCall, showCall);
  get("calls-legend").hidden = state.calls.length === 0;
  put(get("calls-count"), state.running > state.calls.length ? `${state.calls.length} of ${state.running}` : state.running ? String(state.running) : "");
  engines(state);
  processes(state);
  list("queue", state.queue, (_place, index) => index,
    () => { const node = make("li"); node.append(make("span"), make("span")); return node; },
    (node, place, index) => { put(node.firstChild, String(index + 1)); put(node.lastChild, place || "a voice channel"); });
  put(get("queue-count"), state.waiting ? String(state.waiting) : "");
  stages(state);
  problems(state);
  tell(state);
}

function linked(text) {
  get("link").hidden = !text;
  put(get("link"), text);
  document.body.classList.toggle("stale", Boolean(text));
}

function listen() {
  const source = new EventSource("/events");
  source.onmessage = (event) => {
    heardAt = Date.now();
    linked("");
    last = JSON.parse(event.data);
    remember(last.calls);
    if (!paused) show(last);
  };
  source.onerror = () => {
    linked("The bot does not answer, or too many browsers watch it. Trying again.");
    if (source.readyState === EventSource.CLOSED) { source.close(); setTimeout(listen, RETRY_MS); }
  };
}

get("pause").addEventListener("click", () => {
  paused = !paused;
  get("pause").setAttribute("aria-pressed", String(paused));
  if (!paused && last) show(last);
});
window.addEventListener("resize", () => { if (last && !paused) show(last); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (last) show(last); });
setInterval(() => { if (Date.now() - heardAt > SILENT_MS) linked("Nothing has come for some seconds: what you see is old."); }, 1000);
listen();
