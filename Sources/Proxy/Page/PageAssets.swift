/// The style of both pages: light or dark as the user's system, down to the width of a phone.
enum PageStyle {
    static let asset = PageAsset(
        #"""
        :root {
          --page: #f6f7f9; --card: #fff; --line: #e1e5ea; --text: #1b2430; --soft: #5b6675; --link: #1d5fbf;
          --ok: #1f7a4d; --bad: #b3261e; --warn: #8a5a00; --bad-page: #fcecea; --warn-page: #fdf3dc; --hover: #f0f3f7;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --page: #12161c; --card: #1a2028; --line: #2b333e; --text: #e3e8ef; --soft: #97a3b3; --link: #7db4ff;
            --ok: #57c08b; --bad: #ff8a80; --warn: #e8b860; --bad-page: #38191a; --warn-page: #352a12; --hover: #212933;
          }
        }
        * { box-sizing: border-box; }
        html { color-scheme: light dark; }
        body {
          margin: 0 auto; padding: 20px 24px 40px; max-width: 1180px; background: var(--page); color: var(--text);
          font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
        }
        a { color: var(--link); text-underline-offset: 3px; }
        a:focus-visible, input:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 6px; }
        p, pre, ul { margin: 0; }
        header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 4px 24px; margin-bottom: 16px; }
        h1 { margin: 0; font-size: 20px; letter-spacing: -.01em; }
        h1 a { color: inherit; text-decoration: none; }
        header nav { display: flex; gap: 16px; }
        header nav a, footer a { text-decoration: none; }
        header nav a:hover { text-decoration: underline; }
        .bad { color: var(--bad); }
        .warn { color: var(--warn); }
        #alerts > * { margin-bottom: 12px; padding: 10px 14px; border-radius: 10px; }
        #alerts > .bad { background: var(--bad-page); }
        #alerts > .warn { background: var(--warn-page); }
        #alerts pre { margin-top: 4px; font-size: 13px; white-space: pre-wrap; overflow-wrap: anywhere; color: var(--text); }
        #tiles { display: flex; flex-wrap: wrap; gap: 8px; margin-bottom: 12px; }
        #tiles > * {
          padding: 6px 14px; border: 1px solid var(--line); border-radius: 999px; background: var(--card); color: var(--soft);
          text-decoration: none; white-space: nowrap;
        }
        #tiles b { color: var(--text); font-variant-numeric: tabular-nums; }
        #tiles a:hover { background: var(--hover); }
        #tiles a[aria-current] { border-color: var(--link); box-shadow: inset 0 0 0 1px var(--link); }
        #tiles .none b { color: inherit; font-weight: 400; }
        #tiles a:not(.none) .bad { color: var(--bad); }
        #tiles a:not(.none) .warn { color: var(--warn); }
        #tiles a:not(.none) .fine { color: var(--ok); }
        #tiles span { margin-left: auto; border-color: transparent; background: none; padding-right: 0; }
        #daemon { display: flex; flex-wrap: wrap; gap: 8px; margin-bottom: 20px; padding: 0; list-style: none; }
        #daemon li {
          display: flex; flex-direction: column; flex: 1 1 200px; min-width: 0; padding: 9px 14px; border: 1px solid var(--line);
          border-radius: 10px; background: var(--card); font-size: 13px; color: var(--soft);
        }
        #daemon b { font-size: 14px; color: var(--text); overflow-wrap: anywhere; }
        #daemon .bad { color: var(--bad); }
        #daemon .warn { color: var(--warn); }
        #bar { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 0 16px; margin-bottom: 8px; }
        #search { position: relative; flex: 1 1 300px; max-width: 420px; }
        #search[hidden] { display: none; }
        #q {
          width: 100%; padding: 7px 36px 7px 14px; border: 1px solid var(--line); border-radius: 10px; background: var(--card);
          color: var(--text); font: inherit;
        }
        #q::placeholder { color: var(--soft); opacity: 1; }
        #q::-webkit-search-cancel-button { display: none; }
        kbd {
          position: absolute; right: 10px; top: 8px; padding: 0 7px; border: 1px solid var(--line); border-radius: 5px; color: var(--soft);
          font: 12px/20px ui-monospace, monospace;
        }
        #shown { padding: 6px 2px; font-size: 13px; color: var(--soft); }
        table { width: 100%; table-layout: fixed; border: 1px solid var(--line); border-spacing: 0; border-radius: 10px; background: var(--card); }
        th, td { padding: 7px 14px; text-align: left; vertical-align: top; font-weight: 400; overflow-wrap: anywhere; unicode-bidi: isolate; }
        thead th { position: sticky; top: 0; background: var(--card); border-bottom: 1px solid var(--line); white-space: nowrap; z-index: 1; }
        thead th:first-child { border-top-left-radius: 10px; }
        thead th:last-child { border-top-right-radius: 10px; }
        thead a { color: var(--soft); text-decoration: none; font-size: 13px; }
        thead a:hover { color: var(--text); }
        thead th:nth-child(1) { width: 112px; }
        thead th:nth-child(3) { width: 108px; }
        thead th:nth-child(4) { width: 104px; }
        thead th:nth-child(5) { width: 34%; }
        thead [aria-sort] a { color: var(--text); font-weight: 600; }
        [aria-sort=ascending] a::after { content: " ↑"; }
        [aria-sort=descending] a::after { content: " ↓"; }
        tbody tr:not(:first-child) > * { border-top: 1px solid var(--line); }
        tbody tr:hover > * { background: var(--hover); }
        tbody tr:last-child > :first-child { border-bottom-left-radius: 10px; }
        tbody tr:last-child > :last-child { border-bottom-right-radius: 10px; }
        tbody th { font-weight: 500; }
        tbody a { color: inherit; text-decoration: none; }
        tbody th a { white-space: break-spaces; }
        tbody a:hover { text-decoration: underline; }
        tbody th p { font-size: 13px; color: var(--bad); font-weight: 400; }
        td:nth-child(1), td:nth-child(3), td:nth-child(4) { white-space: nowrap; }
        td:nth-child(3), td:nth-child(4) { font-variant-numeric: tabular-nums; }
        td:nth-child(5) { color: var(--soft); }
        td:nth-child(1) span::before {
          content: ""; display: inline-block; width: 8px; height: 8px; margin-right: 8px; border-radius: 50%; background: currentColor;
          border: 1.5px solid currentColor;
        }
        td .fine { color: var(--ok); }
        td .bad { color: var(--bad); }
        td .bad::before { border-radius: 1px; transform: rotate(45deg); }
        td .warn { color: var(--warn); }
        td .warn::before, td .soft::before { background: none; }
        td .soft, .empty td { color: var(--soft); }
        footer { margin-top: 12px; font-size: 13px; color: var(--soft); }
        #list { padding: 6px 18px; border: 1px solid var(--line); border-radius: 10px; background: var(--card); list-style: none; }
        #list li { padding: 8px 0; }
        #list li:not(:first-child) { border-top: 1px solid var(--line); }
        #list span { display: block; font-size: 13px; color: var(--soft); }
        @media (max-width: 680px) {
          body { padding: 14px 12px 32px; }
          #tiles span { margin-left: 0; padding-left: 4px; }
          #search { max-width: none; }
          kbd { display: none; }
          main { display: flex; flex-direction: column; }
          #daemon { order: 1; gap: 6px; margin: 16px 0 0; }
          #q { font-size: 16px; }
          table, thead, tbody { display: block; }
          thead tr { display: flex; flex-wrap: wrap; gap: 0 4px; border-bottom: 1px solid var(--line); padding: 2px 8px; }
          thead th { position: static; border: 0; padding: 0; background: none; }
          thead th:nth-child(n) { width: auto; }
          thead th a { display: block; padding: 8px 7px; }
          tbody tr { display: grid; grid-template-columns: minmax(0, 1fr) auto auto; gap: 0 12px; padding: 8px 14px; }
          tbody tr:not(:first-child) { border-top: 1px solid var(--line); }
          tbody tr:not(:first-child) > * { border-top: 0; }
          tbody tr:hover > * { background: none; }
          tbody th, tbody td { padding: 0; }
          tbody th { grid-area: 1 / 1; }
          td:nth-child(n) { grid-row: 2; font-size: 13px; color: var(--soft); }
          tr:nth-child(n) td:nth-child(1) { grid-area: 1 / 2 / 2 / 4; text-align: right; }
          td:nth-child(5) { grid-column: 1; }
          tr.empty td:nth-child(1) { grid-area: 1 / 1 / 2 / 4; text-align: left; }
        }
        """#,
        sha256: "dqsMCNeMGPZms5FVe0U5jOcAfdhyeI3aeD7DWQ2d7rQ=")
}

/// A style or script within a page, and its hash in the page's `Content-Security-Policy`, which forbids all other styles and scripts.
struct PageAsset: Sendable {
    let text: StaticString
    /// `'sha256-…'` (CSP Level 3 §2.3.1).
    let source: String

    /// - Parameter sha256: the hash of `text` in Base64; a test compares the two.
    init(_ text: StaticString, sha256: StaticString) {
        self.text = text
        source = "'sha256-\(sha256)'"
    }

    /// The header for a page of these two.
    static func policy(style: PageAsset, script: PageAsset?) -> (name: String, value: String) {
        var parts = ["default-src 'none'", "style-src \(style.source)"]
        // The script sends requests only to this server.
        if let script { parts += ["script-src \(script.source)", "connect-src 'self'"] }
        parts += ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
        return ("Content-Security-Policy", parts.joined(separator: "; "))
    }
}

/// The script of the page of apps. It fetches the page again every few seconds while it is visible, and after each choice of the user, and
/// replaces what differs. Only the server writes rows.
enum AppsPageScript {
    static let asset = PageAsset(
        #"""
        "use strict";
        (() => {
          const interval = 5000;
          const parts = ["alerts", "tiles", "daemon", "shown", "apps", "made"];
          const byId = (id, page = document) => page.getElementById(id);
          const input = byId("q");
          // Without the name and password that it may contain: browsers differ in whether the script sees them, and fetch refuses them.
          const here = () => new URL(location.origin + location.pathname + location.search + location.hash);
          // How far this clock is behind the server's; when to ask next, by a clock that is never set.
          let offset = 0, due = 0;
          // Whether an answer is under way, and whether the address has changed meanwhile.
          let asking = false, again = false;

          // MARK: Ages

          const span = s => s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
          const showAges = page => {
            for (const node of page.querySelectorAll("time[data-age]")) {
              const seconds = Math.floor((Date.now() + offset - Date.parse(node.dateTime)) / 1000);
              const text = seconds < 1 ? "now" : span(seconds) + node.dataset.age;
              if (node.textContent !== text) node.textContent = text;
            }
          };

          // MARK: Taking over a new page

          // Rows are known by the app that they link to, so a row stays the same node.
          const key = node => node.nodeName === "TR" && node.parentNode.nodeName === "TBODY" ? node.querySelector("th a")?.getAttribute("href") : undefined;
          // Of rows in their new order, those that stay in place: as many as can. A row that moves loses selection and focus, so the row
          // with the selection, or else the one with the focus, is always among them.
          const staying = (rows, old) => {
            const places = new Map([...old.children].map((row, place) => [row, place]));
            const isBefore = (one, other) => places.get(one) < places.get(other);
            const holder = node => rows.findIndex(row => row.contains(node));
            const held = [getSelection().anchorNode, document.activeElement].map(holder).find(i => i >= 0);
            if (held >= 0) rows = rows.filter((row, i) => i === held || (i < held) === isBefore(row, rows[held]));
            // The longest sequence of rows in their old order: for each length, the sequence is kept whose last row stood first.
            const ends = [], previous = new Map(), result = new Set();
            for (const row of rows) {
              const length = ends.findLastIndex(end => isBefore(end, row)) + 1;
              previous.set(row, ends[length - 1]);
              ends[length] = row;
            }
            for (let row = ends.at(-1); row; row = previous.get(row)) result.add(row);
            return result;
          };
          const drop = node => { const next = node.nextSibling; node.remove(); return next; };
          const update = (old, fresh) => {
            if (old.nodeName !== fresh.nodeName) { old.replaceWith(fresh); return; }
            if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
            if (old.isEqualNode(fresh)) return;
            for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
            for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
            const known = new Map([...old.children].map(child => [key(child), child]));
            known.delete(undefined);
            const fixed = staying([...fresh.children].map(child => known.get(key(child))).filter(row => row), old);
            let at = old.firstChild;
            for (const child of [...fresh.childNodes]) {
              const name = key(child);
              const same = name ? known.get(name) : at && !key(at) ? at : null;
              while (fixed.has(same) && at !== same) at = drop(at);
              if (!same) { old.insertBefore(child, at); continue; }
              if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
              update(same, child);
            }
            while (at) at = drop(at);
          };
          const alert = text => {
            const old = byId("alerts").querySelector("[role=alert]");
            // Screen readers read each new alert aloud.
            if (old?.textContent === text) return;
            old?.remove();
            const node = document.createElement("p");
            node.className = "bad";
            node.setAttribute("role", "alert");
            node.textContent = text;
            byId("alerts").prepend(node);
          };

          const ask = async () => {
            // One at a time: the server would also write the pages of all the choices that are out of date.
            if (asking) { again = true; return; }
            asking = true;
            again = false;
            const start = performance.now(), address = here();
            address.searchParams.set("format", "html");
            due = Infinity;
            let page = null, refusal = null;
            try {
              const response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(20000) });
              const text = await response.text(), isPlain = response.headers.get("Content-Type")?.startsWith("text/plain");
              if (response.ok) page = new DOMParser().parseFromString(text, "text/html");
              else refusal = isPlain ? text.trim() : `HTTP status ${response.status}`;
            } catch { /* It is told below. */ }
            asking = false;
            if (again) return ask();
            due = performance.now() + interval;
            if (page && byId("made", page)) {
              const focused = document.activeElement;
              offset = Date.parse(byId("made", page).querySelector("time").dateTime) - Date.now();
              showAges(page);
              for (const id of parts) update(byId(id), byId(id, page));
              document.title = page.title;
              focused?.focus({ preventScroll: true });
              // Updates take a twentieth of the time, however many apps there are, but the pause is at most a minute.
              due = performance.now() + Math.min(60000, Math.max(interval, 20 * (performance.now() - start)));
            } else alert(`${refusal || "No answer"} (the table is as of ${byId("made").querySelector("time").textContent})`);
          };
          const tick = () => {
            if (document.hidden) return;
            showAges(document);
            if (performance.now() >= due) ask();
          };

          // MARK: Choices of the reader, which the address keeps

          const choose = (name, value) => {
            const address = here();
            if (value) address.searchParams.set(name, value); else address.searchParams.delete(name);
            // A relative address: replaceState refuses one whose name and password differ from the document's.
            history.replaceState(null, "", address.pathname + address.search + address.hash);
            ask();
          };
          document.addEventListener("click", event => {
            const link = event.target.closest("#tiles a, #apps thead a");
            if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
            event.preventDefault();
            // The rest of the link is as old as the page, and the address may have changed since.
            const name = link.closest("#tiles") ? "state" : "sort";
            choose(name, new URL(link.href).searchParams.get(name));
          });
          let typing = 0;
          const search = () => choose("q", input.value);
          input.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 150); });
          document.addEventListener("keydown", event => {
            if (event.key === "/" && document.activeElement !== input && !event.ctrlKey && !event.metaKey && !event.altKey) {
              event.preventDefault();
              input.select();
              input.focus();
            } else if (event.key === "Escape" && document.activeElement === input) {
              input.value = "";
              clearTimeout(typing);
              search();
            }
          });
          document.addEventListener("visibilitychange", tick);

          byId("search").hidden = false;
          setInterval(tick, 1000);
          tick();
        })();
        """#,
        sha256: "q9RfWsBc7rHLRMqiJTdEzTTFj4MSmqdPGrhr4gZ7ShY=")
}
