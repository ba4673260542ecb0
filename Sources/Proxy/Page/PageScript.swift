/// The script of the page of apps: asks for the JSON every few seconds while somebody looks, and sorts and filters without asking.
/// Whatever comes from outside becomes text nodes, never markup.
enum AppsPageScript {
    static let asset = PageAsset(
        #"""
        "use strict";
        (() => {
          const interval = 5000, maxRows = 2000, certificateWarning = 14 * 86400;
          const ranks = { failing: 0, expired: 1, waiting: 2, ok: 3 };
          const byId = id => document.getElementById(id);
          const table = byId("apps"), body = table.tBodies[0], input = byId("q"), alerts = byId("alerts");
          const view = { sort: "state", descending: false, state: "", q: "" };
          let data = null, offset = 0, due = 0, isAsking = false, lost = null;

          // As the server does: what nobody could see, or what would turn the text around it, is written out.
          const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu;
          const printable = text => text.replace(unprintable, c => `\\u{${c.codePointAt(0).toString(16).toUpperCase()}}`);
          const lines = text => text.split("\n").map(printable).join("\n");
          const span = s => s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
          const now = () => Date.now() + offset;
          const secondsSince = time => Math.floor((now() - Date.parse(time)) / 1000);
          const age = time => { const s = secondsSince(time); return s < 1 ? "now" : span(s); };
          const clock = time => time.replace("T", " ").replace("Z", " UTC");
          const size = bytes => {
            if (bytes < 1024) return `${bytes} B`;
            const names = ["KiB", "MiB", "GiB", "TiB"];
            let unit = 1024;
            while (names.length > 1 && bytes >= unit * 1024) { unit *= 1024; names.shift(); }
            const tenths = Math.floor(Math.floor(bytes / (unit / 1024)) * 10 / 1024);
            return tenths < 100 ? `${Math.floor(tenths / 10)}.${tenths % 10} ${names[0]}` : `${Math.floor(tenths / 10)} ${names[0]}`;
          };
          const condition = app => app.state === "ok" && app.last_update === null ? "waiting" : app.state;

          const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
          const element = (name, className, ...children) => {
            const made = document.createElement(name);
            if (className) made.className = className;
            made.append(...children);
            return made;
          };
          const timeElement = (time, suffix) => {
            const made = document.createElement("time");
            if (suffix) made.dataset.suffix = suffix;
            setTime(made, time);
            return made;
          };
          const setTime = (node, time) => {
            if (node.dateTime !== time) { node.dateTime = time; node.title = clock(time); }
            showAge(node);
          };
          const showAge = node => {
            const text = age(node.dateTime);
            put(node, text === "now" ? text : text + (node.dataset.suffix ?? ""));
          };

          // MARK: The view, which the address keeps

          const readView = () => {
            const query = new URLSearchParams(location.search);
            const sort = query.get("sort") ?? "state";
            view.descending = sort.startsWith("-");
            view.sort = view.descending ? sort.slice(1) : sort;
            if (!(view.sort in keys)) { view.sort = "state"; view.descending = false; }
            view.state = query.get("state") in ranks ? query.get("state") : "";
            view.q = query.get("q") ?? "";
          };
          const address = view => {
            const query = new URLSearchParams(location.search);
            const sort = (view.descending ? "-" : "") + view.sort;
            for (const [name, value] of [["sort", sort === "state" ? "" : sort], ["state", view.state], ["q", view.q]]) {
              if (value) query.set(name, value); else query.delete(name);
            }
            return location.pathname + (query.size === 0 ? "" : `?${query}`);
          };
          const keepView = () => history.replaceState(null, "", address(view));
          const sorted = column => ({
            ...view, sort: column, descending: column === view.sort ? !view.descending : column === "age" || column === "size",
          });

          const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
          const keys = {
            state: app => ranks[condition(app)], name: app => app.name, size: app => app.bytes, source: app => app.source,
            age: app => app.last_update === null ? Infinity : -Date.parse(app.last_update),
          };
          const shownApps = () => {
            const words = view.q.toLowerCase().split(" ").filter(word => word);
            const shown = data.apps.filter(app => {
              if (view.state && view.state !== condition(app)) return false;
              const text = `${app.name} ${app.source} ${condition(app)} ${app.error ?? ""}`.toLowerCase();
              return words.every(word => text.includes(word));
            });
            const keyed = shown.map(app => [keys[view.sort](app), app]);
            const sign = view.descending ? -1 : 1;
            return keyed.sort((a, b) => sign * compare(a[0], b[0])).map(pair => pair[1]);
          };

          // MARK: Rows

          const rows = new Map();
          let placed = [];

          const makeRow = () => {
            const row = { tr: element("tr"), word: element("span"), name: new Text(), error: null, time: null, never: new Text("never") };
            row.heading = element("th", "", row.name);
            row.heading.scope = "row";
            row.age = element("td", "", row.never);
            row.size = element("td");
            row.source = element("td");
            row.tr.append(element("td", "", row.word), row.heading, row.age, row.size, row.source);
            return row;
          };
          const fill = (row, app) => {
            const state = condition(app);
            if (row.tr.className !== state) row.tr.className = state;
            put(row.word, state);
            put(row.name, printable(app.name));
            if (app.error === null) { row.error?.remove(); row.error = null; } else {
              if (!row.error) { row.error = element("p"); row.heading.append(row.error); }
              put(row.error, printable(app.error));
            }
            if (app.last_update === null) { if (row.time) { row.age.replaceChildren(row.never); row.time = null; } }
            else if (row.time) setTime(row.time, app.last_update);
            else { row.time = timeElement(app.last_update); row.age.replaceChildren(row.time); }
            put(row.size, size(app.bytes));
            const bytes = `${app.bytes} bytes`;
            if (row.size.title !== bytes) row.size.title = bytes;
            put(row.source, printable(app.source));
          };
          const showRows = () => {
            const all = shownApps(), apps = all.slice(0, maxRows);
            const wanted = apps.map(app => {
              let row = rows.get(app.name);
              if (!row) rows.set(app.name, row = makeRow());
              fill(row, app);
              return row.tr;
            });
            if (wanted.length === 0) {
              const cell = element("td", "", "No apps");
              cell.colSpan = 5;
              wanted.push(element("tr", "empty", cell));
            }
            if (wanted.length !== placed.length || wanted.some((tr, index) => tr !== placed[index])) body.replaceChildren(...wanted);
            placed = wanted;
            const names = new Set(apps.map(app => app.name));
            for (const name of rows.keys()) if (!names.has(name)) rows.delete(name);
            put(byId("shown"), `${apps.length} of ${data.apps.length} shown`);
          };

          // MARK: The rest of the page

          const showHead = () => {
            for (const link of table.tHead.querySelectorAll("a")) {
              const column = link.dataset.sort, heading = link.parentElement;
              if (column === view.sort) heading.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
              else heading.removeAttribute("aria-sort");
              link.href = address(sorted(column));
            }
          };
          const showTiles = () => {
            const counts = {};
            let bytes = 0;
            for (const app of data.apps) {
              counts[condition(app)] = (counts[condition(app)] ?? 0) + 1;
              bytes += app.bytes;
            }
            for (const tile of byId("tiles").querySelectorAll("a")) {
              const state = tile.classList[0] === "all" ? "" : tile.classList[0];
              const count = state ? counts[state] ?? 0 : data.apps.length;
              put(tile.firstChild, String(count));
              tile.classList.toggle("none", count === 0);
              tile.href = address({ ...view, state });
              if (state === view.state) tile.setAttribute("aria-current", "true"); else tile.removeAttribute("aria-current");
            }
            put(byId("size"), size(bytes));
            document.title = counts.failing ? `${counts.failing} failing · exporter-proxy` : "Apps · exporter-proxy";
          };
          const grade = end => { const left = -secondsSince(end); return left <= 0 ? "bad" : left < certificateWarning ? "warn" : ""; };
          const remaining = end => { const left = -secondsSince(end); return left > 0 ? `ends in ${span(left)}` : `ended ${span(-left)} ago`; };
          const kinds = { scrape: "Scrape", tcp: "Push over TCP", unix: "Push over Unix socket" };

          const showDaemon = () => {
            const items = data.listeners.map(listener => {
              const tls = listener.kind === "unix" ? "" : `TLS ${listener.tls} · `;
              const item = element("li", "",
                element("span", "", (kinds[listener.kind] ?? listener.kind) + (listener.format ? ` · ${listener.format}` : "")),
                element("b", "", printable(listener.name)), element("span", "", `${tls}${listener.open_connections} open`));
              const end = listener.certificate_end;
              if (end) {
                const certificate = element("span", grade(end) || "fine", `certificate ${remaining(end)}`);
                certificate.title = clock(end);
                item.append(certificate);
              }
              return item;
            });
            const reload = data.reload;
            items.push(element("li", "", element("span", "", "Configuration"),
              reload ? element("b", "", reload.error === null ? "reloaded " : "reload failed ", timeElement(reload.time, " ago"))
                : element("b", "", "as at the start"),
              element("span", "", `version ${printable(data.version)} · up `, timeElement(data.start_time))));
            replace(byId("daemon"), items);
          };
          const showAlerts = () => {
            const made = [];
            if (lost) {
              const time = clock(lost.toISOString().replace(/\.\d+/, ""));
              const lostAlert = element("p", "bad", `No answer since ${time}: shown is what was then.`);
              lostAlert.setAttribute("role", "alert");
              made.push(lostAlert);
            }
            // What the server wrote stays until there is something newer.
            if (!data) {
              if (!alerts.querySelector("[role=alert]")) alerts.prepend(...made);
              return;
            }
            if (!data.ready) made.push(element("p", "warn", "Not ready: starting or stopping."));
            if (data.reload && data.reload.error !== null) {
              made.push(element("div", "bad",
                element("p", "", "The last reload failed ", timeElement(data.reload.time, " ago"), "; what ran before still runs."),
                element("pre", "", lines(data.reload.error))));
            }
            for (const listener of data.listeners) {
              const end = listener.certificate_end;
              if (end && grade(end)) made.push(element("p", grade(end), `The certificate of ${printable(listener.name)} ${remaining(end)}.`));
            }
            replace(alerts, made);
          };
          // Untouched where nothing has changed: a selection stays, and nothing is read out again.
          const replace = (parent, children) => {
            const same = parent.childNodes.length === children.length && children.every((child, i) => child.isEqualNode(parent.childNodes[i]));
            if (!same) parent.replaceChildren(...children);
          };
          const showAges = () => { for (const node of document.querySelectorAll("#apps time, #daemon time, #alerts time")) showAge(node); };
          const show = () => {
            showHead();
            showAlerts();
            if (!data) return;
            showTiles();
            showDaemon();
            showRows();
            const made = byId("made").querySelector("time");
            made.dateTime = data.time;
            put(made, clock(data.time));
          };

          // MARK: News

          const ask = async () => {
            if (isAsking) return;
            isAsking = true;
            const start = Date.now();
            try {
              const response = await fetch("?format=json", { cache: "no-store", signal: AbortSignal.timeout(20000) });
              if (!response.ok) throw new Error(response.statusText);
              data = await response.json();
              offset = Date.parse(data.time) - Date.now();
              lost = null;
            } catch {
              lost ??= new Date(now());
            }
            show();
            isAsking = false;
            // Never more than a twentieth of the time, however many apps there are.
            due = Date.now() + Math.max(interval, 20 * (Date.now() - start));
          };
          const tick = () => {
            if (document.hidden) return;
            showAges();
            if (Date.now() >= due) ask();
          };

          // MARK: Hands

          const isPlain = event => event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
          const change = changes => {
            Object.assign(view, changes);
            keepView();
            show();
          };
          table.tHead.addEventListener("click", event => {
            const column = event.target.closest("a")?.dataset.sort;
            if (!column || !data || !isPlain(event)) return;
            event.preventDefault();
            change(sorted(column));
          });
          byId("tiles").addEventListener("click", event => {
            const tile = event.target.closest("a");
            if (!tile || !data || !isPlain(event)) return;
            event.preventDefault();
            const state = tile.classList[0];
            change({ state: state === "all" || state === view.state ? "" : state });
          });
          input.addEventListener("input", () => { if (data) change({ q: input.value }); });
          document.addEventListener("keydown", event => {
            if (event.key === "/" && document.activeElement !== input && !event.ctrlKey && !event.metaKey && !event.altKey) {
              event.preventDefault();
              input.select();
              input.focus();
            } else if (event.key === "Escape" && document.activeElement === input) {
              input.value = "";
              change({ q: "" });
            }
          });
          document.addEventListener("visibilitychange", tick);

          readView();
          input.value = view.q;
          byId("search").hidden = false;
          setInterval(tick, 1000);
          tick();
        })();
        """#)
}
