// The app of page 29 in the browser: where the mouse is, how far the photo is zoomed, where the line between before and
// after stands. Photos, hints and colours are Python's: this asks by messages ({do: "add", x, y}) and shows `view`.

const ACCEPT = "image/*,.tif,.tiff,.heic,.heif,.avif,.jp2,.json";
const PIECE = 1 << 20;  // bytes of an upload in one message; notebooks lose messages of more than 10 MB without a word
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function describe(hex) {  // a colour in words, for those who hear it
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
  const high = Math.max(r, g, b), low = Math.min(r, g, b), span = high - low, light = (high + low) / 2;
  const shade = light < 0.3 ? "dark " : light > 0.75 ? "light " : "";
  if (span < 0.06) return shade + "grey";
  const turn = (high === r ? (g - b) / span + 6 : high === g ? (b - r) / span + 2 : (r - g) / span + 4) % 6 * 60;
  if (turn > 15 && turn < 70 && span < 0.35 * (1 - Math.abs(2 * light - 1))) return light > 0.6 ? "beige" : shade + "brown";
  const names = [[15, "red"], [40, light < 0.45 ? "brown" : "orange"], [70, light < 0.4 ? "olive" : "yellow"], [160, "green"],
    [200, "cyan"], [255, "blue"], [290, "violet"], [345, "pink"], [361, "red"]];
  return shade + names.find(([end]) => turn < end)[1];
}

const measure = (bytes) => bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

function fill(select, options) {  // [value, text], only when they are others, so that the keyboard's place stays
  const key = JSON.stringify(options);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  select.replaceChildren(...options.map(([value, text]) => h("option", { value, textContent: text })));
}

function reconcile(parent, count, make) {  // as many children as there are things; those that stay keep the focus
  while (parent.children.length > count) parent.lastChild.remove();
  while (parent.children.length < count) parent.append(make(parent.children.length));
  return [...parent.children];
}

function drag(node, down, move, end = () => {}) {  // until the pointer is lifted, or taken away (its type says which)
  node.setPointerCapture(down.pointerId);
  const ours = (act) => (e) => { if (e.pointerId === down.pointerId) act(e); };
  const moved = ours(move), ended = ours((e) => {
    node.removeEventListener("pointermove", moved);
    for (const type of ["pointerup", "pointercancel"]) node.removeEventListener(type, ended);
    end(e);
  });
  node.addEventListener("pointermove", moved);
  for (const type of ["pointerup", "pointercancel"]) node.addEventListener(type, ended);
}

// ---------------------------------------------------------------------------------------------------------------- //

function build() {  // every element once, by name
  const ui = {};
  const named = (name, node) => (ui[name] = node);
  const button = (name, text, title, more = {}) =>
    named(name, h("button", { type: "button", className: "pg-button", textContent: text, title, ...more }));
  const field = (text, control) => h("label", { className: "pg-field" }, h("span", { textContent: text }), control);
  const slider = (name, min, max, step) => named(name, h("input", { type: "range", min, max, step }));
  const image = (name, className) => named(name, h("img", { className, alt: "", draggable: false }));

  const doors = h("div", { className: "pg-doors" },
    named("files", h("input", { type: "file", multiple: true, accept: ACCEPT, className: "pg-files", tabIndex: -1, ariaHidden: "true" })),
    button("choose", "Choose photos", "Choose photos, and hints files of theirs, on this computer"),
    field("or a sample", named("sample", h("select"))),
    named("door", h("span", { className: "pg-door" },
      field("or", named("where", h("input", { type: "text", placeholder: "a path, or https://…", ariaLabel: "a path on this machine, or an address", spellcheck: false }))),
      button("open", "Open", "Open the photo at this path or address"))),
    named("limit", h("small", { className: "pg-limit" })));

  const tools = h("div", { className: "pg-tools", role: "toolbar", ariaLabel: "photo and hints" },
    button("undo", "↶ Undo", "Undo (Ctrl+Z)"), button("redo", "↷ Redo", "Redo (Ctrl+Y)"),
    button("restart", "Restart", "Remove all hints; undo brings them back"),
    button("remove", "Remove", "Remove the chosen hint (Delete)"),
    h("span", { className: "pg-gap" }),
    button("out", "−", "Zoom out (−)", { ariaLabel: "Zoom out" }), button("in", "+", "Zoom in (+)", { ariaLabel: "Zoom in" }),
    button("fit", "Fit", "The whole photo (0)"), button("one", "1:1", "One pixel of the photo is one of the screen (1)"),
    button("close", "Close", "Close this photo"));

  const sheet = named("sheet", h("div", { className: "pg-sheet" },
    image("before", "pg-before"), image("after", "pg-after"), image("nearBefore", "pg-near"), image("nearAfter", "pg-near"),
    named("hints", h("div", { className: "pg-hints", role: "group", ariaLabel: "hints" })),
    named("cross", h("div", { className: "pg-cross", hidden: true, ariaHidden: "true" }))));
  const stage = named("stage", h("div", { className: "pg-stage", tabIndex: 0, role: "application" }, sheet));
  const frame = named("frame", h("div", { className: "pg-frame" }, stage,
    named("grip", h("div", { className: "pg-grip", ariaHidden: "true" }, h("span", { textContent: "⇔" })))));

  const line = named("line", h("input", { type: "range", className: "pg-line", min: 0, max: 100, value: 50,
    ariaLabel: "the line between before and after" }));
  const hint = named("hint", h("fieldset", { className: "pg-hint" }, h("legend", { textContent: "Colour of the hint" }),
    named("why", h("p", { className: "pg-why" })),
    named("choice", h("div", { className: "pg-choice" },
      named("palette", h("div", { className: "pg-palette", tabIndex: 0, role: "slider", ariaRoleDescription: "field of colours",
        ariaLabel: "colour: left green, right red, down blue, up yellow; arrow keys, with Shift finer", ariaValueMin: 0, ariaValueMax: 150 },
        image("colors", "pg-colors"), named("dot", h("div", { className: "pg-dot" })))),
      h("div", { className: "pg-swatches" }, h("span", { textContent: "suggested" }),
        named("suggested", h("div", { role: "group", ariaLabel: "suggested colours" }))),
      h("div", { className: "pg-swatches" }, h("span", { textContent: "recent" }),
        named("recent", h("div", { role: "group", ariaLabel: "recently used colours" }))),
      field("colour", named("color", h("input", { type: "text", placeholder: "#rrggbb or olive", spellcheck: false }))),
      field("radius", slider("radius", 1, 100, 1))))));

  const settings = h("fieldset", {}, h("legend", { textContent: "Photo and file" }),
    field("saturation", slider("saturation", 0, 2, 0.05)), field("working size", slider("size", 32, 512, 16)),
    field("weights", named("weights", h("select"))), field("format", named("format", h("select"))),
    button("download", "Download", "Colour the whole photo, at its own resolution, and save it with its hints", { className: "pg-button pg-main" }),
    named("links", h("div", { className: "pg-links" })));

  ui.work = h("div", { className: "pg-work", hidden: true },
    named("photo", h("div", { className: "pg-photo" }, tools, frame, line, named("film", h("div", { className: "pg-film", role: "group", ariaLabel: "open photos" })))),
    h("div", { className: "pg-side" }, hint, settings));
  ui.message = h("div", { className: "pg-message", role: "status" });
  // JupyterLab's own keys and menu stay away from what happens in here
  ui.root = h("div", { className: "pg-app", "data-lm-suppress-shortcuts": "true", "data-jp-suppress-context-menu": "true" }, doors, ui.message, ui.work);
  return ui;
}

// ---------------------------------------------------------------------------------------------------------------- //

function render({ model, el }) {
  const ui = build(), urls = {}, waiting = {}, listeners = [];
  let view = {}, saving = false, looking = null;
  let scale = null, cross = null;  // screen pixels for one of the photo, null: all of it fits; where the keyboard points
  let wanted = null;  // what gets the focus when Python has answered
  let rolled = -Infinity;  // when the page was last scrolled: a hint that comes under the mouse then is not meant
  el.append(ui.root);

  const on = (name, act) => { model.on(name, act); listeners.push([name, act]); };
  function post(what, buffers) {  // of the photo that is seen: what was meant for one that is gone, Python ignores
    try { model.send({ photo: view.photo, turn: view.turn, ...what }, undefined, buffers); return true; }
    catch { busy(false); say("Python has stopped: run the cell again, or load the page anew.", true); return false; }
  }
  function flush() {  // what waits, in the order in which it was done
    for (const [name, { what, timer }] of Object.entries(waiting)) { clearTimeout(timer); delete waiting[name]; post(what); }
  }
  function ask(what, buffers) { flush(); return post(what, buffers); }
  function expect(what, message) {  // Python may be busy with another cell: what it was asked for is told until it answers
    if (ask(what)) { say(message); busy(true); }
  }
  function later(name, what) {  // asked when the hand rests, or before anything else is asked
    clearTimeout(waiting[name]?.timer);
    waiting[name] = { what, timer: setTimeout(flush, 250) };
  }
  function edit(what, i, change) {  // another place, radius or colour of a hint, seen at once
    Object.assign(view.hints[i], change);
    later(`${what} ${i}`, { do: what, i, photo: view.photo, turn: view.turn, ...change });
  }
  const focused = () => ui.root.getRootNode().activeElement;
  const able = () => Boolean(view.width) && !view.no_hints;
  const chosen = () => (able() && view.selected != null ? view.hints[view.selected] : null);

  function picture(image, data) {
    if (urls[image]) URL.revokeObjectURL(urls[image]);
    const [name, img] = [image, ui[image]];
    urls[name] = data?.byteLength ? URL.createObjectURL(new Blob([data])) : "";
    if (urls[name]) img.src = urls[name]; else img.removeAttribute("src");
    img.hidden = !urls[name];
  }

  // ---- the line, zoom and pan
  const tallest = () => Math.max(240, Math.min(window.innerHeight * 0.62, 720));  // the rest of the app is seen as well
  const fitting = () => Math.min(ui.photo.clientWidth / view.width, tallest() / view.height);
  const now = () => scale ?? fitting();

  function cut() {  // the line stands in what is seen of the photo; before left of it, after right
    const stage = ui.stage.getBoundingClientRect(), sheet = ui.sheet.getBoundingClientRect();
    const left = Math.max(stage.left, sheet.left), right = Math.min(stage.left + ui.stage.clientWidth, sheet.right);
    const at = left + (right - left) * ui.line.value / 100;
    ui.after.style.clipPath = `inset(0 0 0 ${sheet.width ? +(100 * (at - sheet.left) / sheet.width).toFixed(3) : 50}%)`;
    const near = ui.nearAfter.getBoundingClientRect();
    if (near.width) ui.nearAfter.style.clipPath = `inset(0 0 0 ${clamp(100 * (at - near.left) / near.width, 0, 100)}%)`;
    const frame = ui.frame.getBoundingClientRect();
    ui.grip.style.left = `${at - frame.left}px`;
  }

  function layout() {
    if (!view.width) return;
    if (!ui.photo.clientWidth) return marks();  // not seen yet
    const fit = fitting();
    if (scale !== null && scale <= fit) scale = null;
    ui.frame.style.width = ui.line.style.width = scale === null ? `${view.width * fit}px` : "";
    ui.stage.style.height = `${Math.round(Math.max(view.height * fit, Math.min(view.height * now(), tallest())))}px`;
    ui.stage.classList.toggle("pg-zoomed", scale !== null);
    ui.sheet.style.width = `${view.width * now()}px`;
    ui.sheet.style.height = `${view.height * now()}px`;
    cut();
    marks();
    soon();
  }

  function zoom(to, x, y) {  // the photo's point under (x, y) of the stage stays there
    if (!view.width) return;
    const stage = ui.stage.getBoundingClientRect(), before = ui.sheet.getBoundingClientRect();
    x ??= stage.left + stage.width / 2; y ??= stage.top + stage.height / 2;
    const [u, v] = [(x - before.left) / before.width, (y - before.top) / before.height];
    scale = to === null ? null : clamp(to, fitting(), Math.max(8, fitting()));
    layout();
    const after = ui.sheet.getBoundingClientRect();
    ui.stage.scrollLeft += after.left + u * after.width - x;
    ui.stage.scrollTop += after.top + v * after.height - y;
    cut();
  }

  function soon() { clearTimeout(looking); looking = setTimeout(closer, 250); }

  function closer() {  // the photo's own pixels, where the copy has too few
    const density = now() * window.devicePixelRatio, copy = ui.before.naturalWidth / view.width;
    if (scale === null || density < copy * 1.1) { picture("nearBefore"); picture("nearAfter"); return; }
    const stage = ui.stage.getBoundingClientRect(), sheet = ui.sheet.getBoundingClientRect();
    const x = Math.max(0, stage.left - sheet.left) / now(), y = Math.max(0, stage.top - sheet.top) / now();
    ask({ do: "detail", box: [x, y, x + ui.stage.clientWidth / now() + 1, y + ui.stage.clientHeight / now() + 1].map(Math.floor) });
  }

  function near() {
    const { box, before, after } = model.get("detail") || {};
    picture("nearBefore", before); picture("nearAfter", after);
    if (!box) return;
    for (const img of [ui.nearBefore, ui.nearAfter]) Object.assign(img.style, {
      left: `${100 * box[0] / view.width}%`, top: `${100 * box[1] / view.height}%`,
      width: `${100 * (box[2] - box[0]) / view.width}%`, height: `${100 * (box[3] - box[1]) / view.height}%` });
    cut();
  }

  function place(event) {  // of the mouse, in pixels of the photo
    const sheet = ui.sheet.getBoundingClientRect();
    return [clamp((event.clientX - sheet.left) / sheet.width, 0, 1) * view.width, clamp((event.clientY - sheet.top) / sheet.height, 0, 1) * view.height];
  }

  // ---- hints
  const put = (node, x, y) => Object.assign(node.style, { left: `${100 * x / view.width}%`, top: `${100 * y / view.height}%` });

  function mark(i) {
    let touched = false;
    const index = () => [...ui.hints.children].indexOf(node);
    const node = h("button", { type: "button", className: "pg-mark",
      onclick: (e) => { if (e.detail === 0) choose(index()); },  // by the keyboard
      oncontextmenu: (e) => { e.preventDefault(); e.stopPropagation(); if (!touched) remove(index()); },  // a long press is one too
      onfocus: () => { if (able() && view.selected !== index() && node.matches(":focus-visible")) ask({ do: "select", i: index() }); },
      onwheel: (e) => roll(e, index()),
      onkeydown: (e) => hintKey(e, index()),
      onpointerdown: (e) => { touched = e.pointerType === "touch"; if (e.button === 0 && able()) { e.stopPropagation(); carry(e, node, index()); } } },
      h("span", { className: "pg-ring" }));
    return node;
  }

  function roll(e, i) {
    if (!able() || e.ctrlKey) return;
    if (e.timeStamp - rolled < 400) return void (rolled = e.timeStamp);  // the page goes on scrolling
    e.preventDefault(); e.stopPropagation();
    widen(i, e.deltaY < 0 ? 1.15 : 1 / 1.15);
  }
  function scrolled(e) { if (!e.composedPath().some((node) => node.classList?.contains("pg-mark"))) rolled = e.timeStamp; }
  document.addEventListener("wheel", scrolled, { capture: true, passive: true });

  function choose(i) {
    wanted = "palette";
    if (view.selected === i) focus(); else ask({ do: "select", i });
  }
  function focus() { if (wanted && chosen()) { ui[wanted].focus(); wanted = null; } }

  function add(x, y) {  // seen at once; its colours come with the answer, and till the next answer no other hint takes any
    if (!ask({ do: "add", x, y })) return;
    view.hints.push({ x, y, color: "", shown: "#888888", radius: Math.min(view.width, view.height) / 80 });
    view.selected = null;
    ui.hint.disabled = true;
    marks();
  }

  function remove(i) {
    if (!able() || i == null || i < 0) return;
    const inside = [ui.hints, ui.hint, ui.remove].some((node) => node.contains(focused()));
    const turn_after = Math.random();
    if (!ask({ do: "remove", i, turn_after })) return;
    view.turn = turn_after;  // an earlier answer, which still has this hint, will not be taken for the one to this
    view.hints.splice(i, 1);  // gone at once: a second Delete or click, before Python has answered, finds nothing
    view.selected = null;
    marks(); colors();
    if (inside) ui.stage.focus({ preventScroll: true });
  }

  function widen(i, factor) {
    edit("radius", i, { radius: clamp(view.hints[i].radius * factor, 1, Math.max(view.width, view.height)) });
    marks();
  }

  function shift(i, dx, dy) {
    const { x, y } = view.hints[i];
    edit("move", i, { x: clamp(x + dx, 0, view.width - 0.1), y: clamp(y + dy, 0, view.height - 0.1) });
    marks();
  }

  function carry(down, node, i) {
    node.focus({ preventScroll: true, focusVisible: false });
    const { photo, turn } = view;
    let moved = false;
    drag(node, down, (e) => {
      moved ||= Math.hypot(e.clientX - down.clientX, e.clientY - down.clientY) >= 4;
      if (moved) put(node, ...place(e));
    }, (e) => {
      const [x, y] = place(e);
      if (e.type === "pointercancel") marks();
      else if (moved) ask({ do: "move", i, x, y, photo, turn });
      else if (view.selected !== i) ask({ do: "select", i, photo, turn });
    });
  }

  function hintKey(e, i) {
    if (e.ctrlKey || e.metaKey || e.altKey || !able()) return;
    const step = e.shiftKey ? 1 : Math.max(1, 8 / now());
    if (ARROWS[e.key]) shift(i, ...ARROWS[e.key].map((d) => d * step));
    else if (e.key === "Delete" || e.key === "Backspace") remove(i);
    else if (e.key === "[" || e.key === "]") widen(i, e.key === "]" ? 1.15 : 1 / 1.15);
    else if (e.key === "Escape") { ask({ do: "select", i: null }); ui.stage.focus(); }
    else return;
    e.preventDefault(); e.stopPropagation();
  }

  function marks() {
    const hints = view.hints || [];
    reconcile(ui.hints, hints.length, mark).forEach((node, i) => {
      const { x, y, shown, radius } = hints[i], is = view.selected === i;
      put(node, x, y);
      node.style.setProperty("--pg-color", shown);
      node.classList.toggle("pg-is", is);
      node.ariaPressed = String(is);
      node.ariaLabel = `hint ${i + 1} of ${hints.length}: ${describe(shown)} ${shown}, at ${Math.round(x)}, ${Math.round(y)}, radius ${Math.round(radius)}`;
      node.title = `${shown}: drag to move, right-click to remove, wheel for the radius`;
      node.disabled = !able();
      node.firstChild.style.width = node.firstChild.style.height = `${2 * radius * now()}px`;
    });
  }

  // ---- the palette
  function recolor(what) { if (chosen()) ask({ do: "color", i: view.selected, ...what }); }

  function dot(a, b) {
    const [left, right, lower, upper] = view.edges;  // of pixels' centres
    Object.assign(ui.dot.style, { left: `${100 * (a - left + 0.5) / (right - left + 1)}%`, top: `${100 * (upper - b + 0.5) / (upper - lower + 1)}%` });
  }

  function swatches(parent, colors) {  // [what is asked for, how it looks here]
    reconcile(parent, colors.length, () => h("button", { type: "button", className: "pg-swatch", onclick: (e) => recolor({ color: e.currentTarget.dataset.color }) }))
      .forEach((node, i) => {
        const [color, shown] = colors[i];
        node.dataset.color = color;
        node.style.background = shown;
        node.title = node.ariaLabel = `${describe(shown)} ${color}`;
      });
  }

  function colors() {
    const hint = chosen();
    const none = hint && view.edges[1] - view.edges[0] < 4 && view.edges[3] - view.edges[2] < 4;
    ui.why.textContent = view.no_hints || (!view.width ? "" : none ? "This place is black or white: it can have no colour." :
      hint ? `All colours of this lightness (L* ${view.light})` :
      "Click on the photo where you know a colour; or press Enter there, and move the cross with the arrow keys.");
    ui.choice.hidden = !hint;
    ui.hint.disabled = !able();
    if (!hint) return;
    const [wide, high] = [view.edges[1] - view.edges[0] + 1, view.edges[3] - view.edges[2] + 1];
    Object.assign(ui.palette.style, { width: `min(100%, ${Math.round(240 * Math.min(1, wide / high))}px)`, aspectRatio: `${wide} / ${high}` });
    dot(...hint.ab);
    ui.dot.style.background = hint.shown;
    ui.palette.ariaValueNow = Math.round(Math.hypot(...hint.ab));
    ui.palette.ariaValueText = `${describe(hint.shown)} ${hint.shown}`;
    swatches(ui.suggested, view.suggested.map((c) => [c, c]));
    swatches(ui.recent, view.recent.map(({ color, shown }) => [color, shown]));
    ui.recent.parentNode.hidden = !view.recent.length;
    if (focused() !== ui.color) ui.color.value = hint.color;
    ui.radius.max = Math.ceil(Math.min(view.width, view.height) / 4);
    ui.radius.value = hint.radius;
  }

  ui.palette.addEventListener("pointerdown", (down) => {
    if (down.button !== 0 || !chosen()) return;
    const at = (e) => {
      const box = ui.palette.getBoundingClientRect(), [left, right, lower, upper] = view.edges;
      return [left - 0.5 + clamp((e.clientX - box.left) / box.width, 0, 1) * (right - left + 1),
        upper + 0.5 - clamp((e.clientY - box.top) / box.height, 0, 1) * (upper - lower + 1)];
    };
    dot(...at(down));
    drag(ui.palette, down, (e) => dot(...at(e)), (e) => { if (e.type === "pointerup") recolor({ ab: at(e) }); else colors(); });
  });
  ui.palette.addEventListener("keydown", (e) => {
    const hint = chosen();
    if (!hint || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Escape") ui.stage.focus();
    else if (e.key === "Delete") remove(view.selected);
    else if (ARROWS[e.key]) {
      const [dx, dy] = ARROWS[e.key], step = e.shiftKey ? 1 : 5;
      const [left, right, lower, upper] = view.edges;
      edit("color", view.selected, { ab: [clamp(hint.ab[0] + dx * step, left, right), clamp(hint.ab[1] - dy * step, lower, upper)] });
      dot(...hint.ab);
    } else return;
    e.preventDefault(); e.stopPropagation();
  });
  ui.color.addEventListener("keydown", (e) => { if (e.key === "Enter") ui.palette.focus(); });  // a change is told when the field is left
  ui.color.addEventListener("change", () => ui.color.value.trim() && recolor({ color: ui.color.value.trim() }));
  ui.radius.addEventListener("input", () => {
    if (chosen()) { edit("radius", view.selected, { radius: +ui.radius.value }); marks(); }
  });

  // ---- the photo: click, pan, keys
  ui.sheet.addEventListener("pointerdown", (down) => {
    if (down.button !== 0 || !view.width) return;
    const start = [ui.stage.scrollLeft, ui.stage.scrollTop];
    let panned = false;
    drag(ui.sheet, down, (e) => {
      const [dx, dy] = [e.clientX - down.clientX, e.clientY - down.clientY];
      panned ||= Math.hypot(dx, dy) >= (scale === null ? 10 : 4);  // hands tremble
      if (panned && scale !== null && e.pointerType === "mouse") [ui.stage.scrollLeft, ui.stage.scrollTop] = [start[0] - dx, start[1] - dy];
    }, (e) => {
      const [x, y] = place(e);
      if (e.type === "pointerup" && !panned && able()) add(x, y);
    });
  });
  ui.stage.addEventListener("wheel", (e) => {
    if (!e.ctrlKey || !view.width) return;  // without Ctrl the page scrolls, as everywhere
    e.preventDefault();
    zoom(now() * Math.exp(-e.deltaY / 300), e.clientX, e.clientY);
  }, { passive: false });
  ui.stage.addEventListener("scroll", () => { cut(); soon(); });
  ui.stage.addEventListener("keydown", (e) => {
    if (e.target !== ui.stage || e.ctrlKey || e.metaKey || e.altKey || !view.width) return;
    if (ARROWS[e.key] && able()) {
      const step = e.shiftKey ? 1 : 8 / now();
      cross ??= [view.width / 2, view.height / 2];
      const [dx, dy] = ARROWS[e.key];
      cross = [clamp(cross[0] + dx * step, 0, view.width - 1), clamp(cross[1] + dy * step, 0, view.height - 1)];
      put(ui.cross, ...cross);
      ui.cross.hidden = false;
      ui.cross.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else if ((e.key === "Enter" || e.key === " ") && able()) {
      const [x, y] = cross ?? [view.width / 2, view.height / 2];
      add(x, y);
      wanted = "palette";
    } else if (e.key === "Delete") remove(view.selected);
    else if (e.key === "Escape") ask({ do: "select", i: null });
    else if (e.key === "+" || e.key === "=") zoom(now() * 1.25);
    else if (e.key === "-") zoom(now() / 1.25);
    else if (e.key === "0") zoom(null);
    else if (e.key === "1") zoom(1 / window.devicePixelRatio);
    else return;
    e.preventDefault(); e.stopPropagation();
  });
  ui.line.addEventListener("input", cut);
  ui.grip.addEventListener("pointerdown", (down) => {
    if (down.button !== 0) return;
    down.preventDefault();
    drag(ui.grip, down, (e) => {
      const stage = ui.stage.getBoundingClientRect(), sheet = ui.sheet.getBoundingClientRect();
      const left = Math.max(stage.left, sheet.left), right = Math.min(stage.left + ui.stage.clientWidth, sheet.right);
      ui.line.value = clamp(100 * (e.clientX - left) / (right - left), 0, 100);
      cut();
    });
  });

  // ---- photos come and go
  async function send(file, batch) {
    if (file.size > view.limit) return ask({ do: "refuse", batch, why: `${file.name}: more than ${view.limit / 1e6} MB` });
    const parts = Math.max(1, Math.ceil(file.size / PIECE));
    for (let part = 0; part < parts; part++) {
      const data = await file.slice(part * PIECE, (part + 1) * PIECE).arrayBuffer();
      if (!ask({ do: "upload", name: file.name, part, parts, batch }, [new DataView(data)])) return;
      if (part === 0 && !ui.root.classList.contains("pg-busy")) { say(`sending ${file.name} …`); busy(true); }
    }
  }
  let sent = Promise.resolve();
  function upload(files) {  // one file after the other, also those of two drops: their pieces must not mix
    const last = (f) => f.name.endsWith(".json");  // hints need their photo
    const batch = Math.random();  // what is refused is told after the last of them
    for (const file of [...files].sort((a, b) => last(a) - last(b)))
      sent = sent.then(() => send(file, batch)).catch(() => ask({ do: "refuse", batch, why: `${file.name} cannot be read: is it a folder, or gone?` }));
  }
  ui.choose.addEventListener("click", () => ui.files.click());
  ui.files.addEventListener("change", () => { upload(ui.files.files); ui.files.value = ""; });
  ui.root.addEventListener("dragover", (e) => {
    if (![...e.dataTransfer.types].includes("Files")) return;
    e.preventDefault(); e.stopPropagation();
    ui.root.classList.add("pg-over");
  });
  ui.root.addEventListener("dragleave", (e) => { if (!ui.root.contains(e.relatedTarget)) ui.root.classList.remove("pg-over"); });
  ui.root.addEventListener("drop", (e) => {
    ui.root.classList.remove("pg-over");
    if (!e.dataTransfer.files.length) return;
    e.preventDefault(); e.stopPropagation();
    upload(e.dataTransfer.files);
  });
  ui.sample.addEventListener("change", () => { if (ui.sample.value) expect({ do: "sample", name: ui.sample.value }, `opening ${ui.sample.value} …`); ui.sample.value = ""; });
  const open = () => ui.where.value.trim() && expect({ do: "open", where: ui.where.value.trim() }, `opening ${ui.where.value.trim()} …`);
  ui.open.addEventListener("click", open);
  ui.where.addEventListener("keydown", (e) => { if (e.key === "Enter") open(); });

  // ---- buttons and settings
  for (const name of ["undo", "redo", "restart"]) ui[name].addEventListener("click", () => ask({ do: name }));
  ui.close.addEventListener("click", (e) => { if (e.detail < 2) ask({ do: "close" }); });  // a double click has not read the warning
  ui.remove.addEventListener("click", () => remove(view.selected));
  ui.in.addEventListener("click", () => zoom(now() * 1.25));
  ui.out.addEventListener("click", () => zoom(now() / 1.25));
  ui.fit.addEventListener("click", () => zoom(null));
  ui.one.addEventListener("click", () => zoom(1 / window.devicePixelRatio));
  for (const name of ["saturation", "size"]) ui[name].addEventListener("input", () => { ui[name].title = ui[name].value; later(name, { do: name, value: +ui[name].value }); });
  ui.weights.addEventListener("change", () => ask({ do: "weights", name: ui.weights.value }));
  ui.format.addEventListener("change", () => ask({ do: "format", value: ui.format.value }));
  ui.download.addEventListener("click", () => { saving = true; expect({ do: "download" }, "colouring the whole photo …"); });
  ui.root.addEventListener("keydown", (e) => {
    if ((e.ctrlKey || e.metaKey) && e.target.type !== "text") {
      const key = e.key.toLowerCase(), redo = key === "y" || (key === "z" && e.shiftKey);
      if (redo || key === "z") { e.preventDefault(); ask({ do: redo ? "redo" : "undo" }); }
    }
    e.stopPropagation();  // classic notebooks have keys of their own
  });

  function save({ names }, buffers) {  // several views may show one app: the one that asked saves, the others offer it
    free();
    names.forEach((name, i) => {
      const link = h("a", { className: "pg-file", href: URL.createObjectURL(new Blob([buffers[i]])), download: name,
        textContent: `save ${name} (${measure(buffers[i].byteLength)})` });
      ui.links.append(link);
      if (saving) link.click();
    });
    saving = false;
  }
  function free() { for (const a of ui.links.children) URL.revokeObjectURL(a.href); ui.links.replaceChildren(); }

  // ---- what Python says
  function say(text, failed) {
    ui.message.textContent = text;
    ui.message.classList.toggle("pg-failed", Boolean(failed));
  }

  function busy(is) {
    ui.root.ariaBusy = String(is);
    ui.root.classList.toggle("pg-busy", is);
  }

  function film() {
    const photos = model.get("photos") || [];
    ui.film.hidden = photos.length < 2;
    reconcile(ui.film, photos.length, (i) => h("button", { type: "button", className: "pg-frame-small", onclick: () => ask({ do: "show", i }) }, h("img", { alt: "" })))
      .forEach((node, i) => {
        node.firstChild.src = photos[i].picture;
        node.title = photos[i].name;
        node.ariaLabel = `photo ${i + 1} of ${photos.length}: ${photos[i].name}`;
        node.ariaCurrent = String(i === view.current);
      });
  }

  function update() {
    const before = view, told = model.get("view") || {}, held = ui.work.contains(focused());
    say(told.message, told.failed);
    busy(Boolean(told.busy));
    if (told.busy || !told.samples) return;  // a message and no more: what is seen stays
    view = structuredClone(told);
    if (view.failed) { wanted = null; saving = false; }
    for (const { what: { do: _, i, photo, turn, ...change } } of Object.values(waiting))  // what a hand is doing meanwhile stays
      if (photo === view.photo && turn === view.turn && view.hints?.[i]) Object.assign(view.hints[i], change);
    const is = Boolean(view.width), other = before.photo !== view.photo;
    if (other) { scale = null; cross = null; ui.cross.hidden = true; }
    if (other || before.format !== view.format || before.saturation !== view.saturation) free();
    ui.door.hidden = !view.local;
    ui.limit.textContent = `or drop them here: up to ${view.limit / 1e6} MB each${view.local ? "; what is larger, open by its path or address" : ""}`;
    fill(ui.sample, [["", "choose …"], ...view.samples.map((s) => [s, s])]);
    fill(ui.weights, view.weights.map((s) => [s, s]));
    fill(ui.format, [["", "as it came"], ...view.formats.map((s) => [s, s])]);
    ui.weights.value = view.chosen; ui.format.value = view.format;
    ui.size.max = view.largest;
    for (const name of ["saturation", "size"]) {
      if (!waiting[name]) ui[name].value = view[name];  // else it is still being moved
      ui[name].title = ui[name].value;
    }
    if (!is && ui.work.contains(focused())) ui.choose.focus();  // the keyboard's place is not lost with the last photo
    ui.work.hidden = !is;
    if (!is) return;
    ui.before.alt = `${view.name}, before`; ui.after.alt = `${view.name}, after`;
    ui.stage.ariaLabel = `${view.name}. ` + (able() ? "Arrow keys move a cross, Enter adds a hint there. " : "") + "Plus and minus zoom, 0 fits, 1 shows the photo's own pixels.";
    ui.undo.disabled = !able() || !view.undo; ui.redo.disabled = !able() || !view.redo;
    ui.restart.disabled = !able() || !view.hints.length; ui.remove.disabled = !chosen();
    ui.stage.classList.toggle("pg-able", able());
    layout(); colors(); film();
    focus();
    const place = focused();
    if (held && !(ui.root.contains(place) && place.checkVisibility() && !place.matches(":disabled"))) ui.stage.focus({ preventScroll: true });
  }

  on("change:view", update);
  on("change:photos", film);
  on("change:before", () => picture("before", model.get("before")));
  on("change:after", () => { free(); picture("after", model.get("after")); soon(); });
  on("change:palette", () => picture("colors", model.get("palette")));
  on("change:detail", near);
  on("msg:custom", (message, buffers) => { if (message.do === "save") save(message, buffers); });
  for (const [image, name] of [["before", "before"], ["after", "after"], ["colors", "palette"]]) picture(image, model.get(name));
  ui.before.addEventListener("load", layout);
  const watch = new ResizeObserver(layout);
  watch.observe(ui.photo);
  update();

  return () => {
    watch.disconnect();
    document.removeEventListener("wheel", scrolled, { capture: true });
    for (const [name, act] of listeners) model.off(name, act);
    for (const { timer } of [...Object.values(waiting), { timer: looking }]) clearTimeout(timer);
    for (const url of Object.values(urls)) if (url) URL.revokeObjectURL(url);
    free();
  };
}

export default { render };
