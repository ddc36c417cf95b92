// What the console does where scripts run: pages stay as new as what they show. All of them work without it.
// The policy of pages lets nobody make markup of text, so what is new comes as a document, and moves as nodes.
"use strict";
(() => {
  const root = document.documentElement;
  const named = (element) => element.dataset.live || element.id;
  const parts = (from) => {
    const found = new Map();
    for (const part of from.querySelectorAll("[data-live]")) {
      let name = named(part);
      while (found.has(name)) name += "+";  // several of a name are told apart by their order
      found.set(name, part);
    }
    return found;
  };
  const clock = () => new Date().toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
  root.classList.add("scripts");

  // --- what is said to who looks, aloud where a screen is read
  const note = document.createElement("p");
  note.className = "live-note";
  note.setAttribute("role", "status");
  document.body.append(note);
  const say = (text, seen) => {
    note.textContent = text;
    note.classList.toggle("seen", Boolean(seen));
  };

  // --- times: how long ago something was grows while the page is open
  let skew = 0;  // how far the server's clock is ahead of this one
  const spans = [["d", 86400], ["h", 3600], ["min", 60]];
  const span = (seconds) => {
    const [unit, length] = spans.find(([, size]) => seconds >= 2 * size) || ["s", 1];
    return `${Math.round(seconds / length)}\u202f${unit}`;
  };
  const tell = () => {
    for (const time of document.querySelectorAll("time[title]")) {
      const ago = (Date.now() + skew - Date.parse(time.dateTime)) / 1000;
      if (!Number.isNaN(ago)) {
        const says = Math.abs(ago) < 10 ? "just now" : ago > 0 ? `${span(ago)} ago` : `in ${span(-ago)}`;
        if (time.textContent !== says) time.textContent = says;
      }
    }
  };

  // --- parts: the page is fetched again, and what is new in it takes the place of what was there
  const mark = (part) => {  // equal as long as the server says the same, whatever was opened, sorted or typed here
    const copy = part.cloneNode(true);
    for (const each of copy.querySelectorAll("details")) each.removeAttribute("open");
    for (const each of copy.querySelectorAll("time[title]")) each.textContent = "";
    for (const each of copy.querySelectorAll("th button")) each.replaceWith(...each.childNodes);
    for (const each of copy.querySelectorAll("[aria-sort]")) each.removeAttribute("aria-sort");
    return copy.outerHTML;
  };
  const marks = new Map([...parts(document)].map(([name, part]) => [name, mark(part)]));
  const selected = (part) => {
    const chosen = document.getSelection();
    return chosen && !chosen.isCollapsed && chosen.containsNode(part, true);
  };
  const words = (element) => (element ? element.textContent.replace(/[\d\s]+/g, " ").trim() : "");
  const same = (one) => {  // gives what finds it again in what is new
    if (one.id) return (other) => other.id === one.id;
    const key = (each) => [each.localName, each.name, each.getAttribute("href"), each.value,
      words(each.localName === "details" ? each.querySelector("summary") : each)].join("\n");
    const wanted = key(one);
    return (other) => key(other) === wanted;
  };
  const again = (part, one) => [...part.querySelectorAll(one.localName)].find(same(one));
  const changed = (one) => (one.options ? [...one.options].some((each) => each.selected !== each.defaultSelected)
    : one.value !== one.defaultValue || one.checked !== one.defaultChecked);
  const replace = (old, fresh) => {
    const open = [...old.querySelectorAll("details")];
    const typed = [...old.querySelectorAll("input, textarea, select")];
    const scrolled = [...old.querySelectorAll("*")].filter((each) => each.scrollLeft > 0);
    const sorted = [...old.querySelectorAll("[aria-sort]")];
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    const range = focus && focus.selectionStart !== undefined ? [focus.selectionStart, focus.selectionEnd] : null;
    for (const each of open) {
      const found = again(fresh, each);
      if (found) found.open = each.open;
    }
    for (const each of typed.filter((one) => one === focus || changed(one))) {
      const found = [...fresh.querySelectorAll(each.localName)].find((other) => other.name === each.name
        && other.type === each.type && (!/radio|checkbox/.test(each.type) || other.value === each.value));
      if (found && each.type !== "hidden") {
        found.value = each.value;
        if (each.checked !== undefined) found.checked = each.checked;
      }
    }
    const at = scrolled.map((each) => [[...old.querySelectorAll(each.localName)].indexOf(each), each]);
    const sorts = sorted.map((head) => [[...old.querySelectorAll("th")].indexOf(head), head.getAttribute("aria-sort")]);
    const next = focus && again(fresh, focus);
    old.replaceWith(fresh);
    fresh.dispatchEvent(new Event("fresh", {bubbles: true}));
    for (const [index, way] of sorts) {
      const button = fresh.querySelectorAll("th")[index]?.querySelector("button");
      if (button) for (let times = way === "descending" ? 2 : 1; times; times -= 1) button.click();
    }
    for (const [index, each] of at) {
      const found = fresh.querySelectorAll(each.localName)[index];
      if (found) found.scrollLeft = each.scrollLeft;
    }
    if (next) {
      next.focus({preventScroll: true});
      if (range) try { next.setSelectionRange(...range); } catch { /* it has no text */ }
    }
  };
  const SPARE = 2000;
  let asking = null, waits = 0, asked = -SPARE, loudly = false;
  const take = (found) => {
    let news = false, left = false;
    for (const [name, fresh] of parts(found)) {
      const old = parts(document).get(name), marked = mark(fresh);
      if (!old || marks.get(name) === marked) continue;
      if (selected(old)) {
        left = true;  // what somebody is about to copy stays; later
        continue;
      }
      replace(old, document.importNode(fresh, true));
      marks.set(name, marked);
      news ||= !["footer", "run", "tabs"].includes(name);
    }
    tell();
    if (news && loudly) say(`Updated at ${clock()}.`);
    loudly = false;
    if (left) refresh();
  };
  const refresh = () => {
    if (waits || document.hidden) return;
    waits = setTimeout(() => {
      waits = 0;
      if (asking) return refresh();
      asked = performance.now();
      asking = new XMLHttpRequest();
      asking.open("GET", location.href);
      asking.responseType = "document";
      asking.timeout = 30000;
      asking.onloadend = () => {
        const done = asking;
        asking = null;
        if (done.status === 200 && new URL(done.responseURL).pathname === location.pathname) take(done.response);
      };
      asking.send();
    }, Math.max(50, asked + SPARE - performance.now()));
  };

  // --- events: who looks is told what changed; who doesn't look listens to nothing
  const SILENT = 40000;
  let stream = null, last = "", failures = 0, lost = "", retry = 0, watch = 0, run = "";
  const hang = () => {
    clearTimeout(retry);
    clearTimeout(watch);
    if (stream) stream.close();
    stream = null;
  };
  const fail = () => {
    hang();
    delete root.dataset.live;
    if (document.hidden) return;
    lost ||= clock();
    failures += 1;
    say(`The connection is lost since ${lost}. What you see may have changed.`, true);
    retry = setTimeout(connect, Math.min(60, 2 ** failures) * 500 * (1 + Math.random()));
    fetch("/events", {method: "HEAD", cache: "no-store"}).then((answer) => {
      if ([401, 403].includes(answer.status)) {
        hang();
        say("You are signed out. Load the page again to sign in.", true);
      }
    }, () => undefined);
  };
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(fail, SILENT);
  };
  const on = (name, heard) => stream.addEventListener(name, (event) => {
    alive();
    if (event.lastEventId) last = event.lastEventId;
    heard(JSON.parse(event.data));
  });
  const connect = () => {
    hang();
    if (document.hidden) return;
    stream = new EventSource(last ? `/events?last=${encodeURIComponent(last)}` : "/events");
    stream.onerror = fail;
    on("hello", ({now}) => {
      skew = Date.parse(now) - Date.now();
      root.dataset.live = "on";
      failures = 0;
      if (lost) {
        lost = "";
        say("The connection is back.");
        refresh();
      }
    });
    on("beat", () => undefined);
    on("changed", (news) => {
      loudly ||= news.parts.length > 0;
      refresh();
    });
    on("progress", (now) => {
      const before = run;
      run = now ? now.run_id : "";
      if (now || before) refresh();
      for (const each of now ? document.querySelectorAll("[data-progress]") : []) {
        if (each.localName === "progress") [each.max, each.value] = [Math.max(now.clients, 1), now.finished];
        else if (each.localName === "rect") each.setAttribute("width", `${100 * now.finished / Math.max(now.clients, 1)}%`);
        else each.textContent = now[each.dataset.progress].toLocaleString("en").replaceAll(",", "\u202f");
      }
    });
    alive();
  };

  // --- forms: a choice counts as soon as it is made; by keyboard, when that leaves it
  let keyed = null;
  const submit = (select) => select.form.requestSubmit();
  const chosen = (event) => event.target.closest?.("form[data-submits] select, select[data-submits]");
  document.addEventListener("keydown", (event) => {
    keyed = chosen(event) && event.key !== "Enter" ? event.target : keyed;
    if (event.key === "Enter" && chosen(event) && event.target.dataset.moved) submit(event.target);
  });
  document.addEventListener("pointerdown", () => { keyed = null; });
  document.addEventListener("change", (event) => {
    if (!chosen(event)) return;
    if (keyed === event.target) event.target.dataset.moved = "yes";
    else submit(event.target);
  });
  document.addEventListener("focusout", (event) => {
    if (chosen(event) && event.target.dataset.moved) submit(event.target);
  });

  document.addEventListener("visibilitychange", () => (document.hidden ? hang() : (tell(), connect())));
  addEventListener("pagehide", hang);
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      connect();
      refresh();
    }
  });
  setInterval(() => document.hidden || tell(), 10000);
  connect();
})();
