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
          const hasFormat = new URLSearchParams(location.search).has("format");
          // How far this clock is behind the server's; when to ask next; the number of the last question; since when there is no answer.
          let offset = 0, due = 0, asked = 0, lost = null;

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

          // Rows are known by the app that they link to. So a row stays the same node while it moves, and a selection in it stays.
          const key = node => node.nodeName === "TR" && node.parentNode.nodeName === "TBODY" ? node.querySelector("th a")?.getAttribute("href") : undefined;
          const update = (old, fresh) => {
            if (old.nodeName !== fresh.nodeName) { old.replaceWith(fresh); return; }
            if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
            if (old.isEqualNode(fresh)) return;
            for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
            for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
            const known = new Map([...old.children].map(child => [key(child), child]));
            let at = old.firstChild;
            for (const child of [...fresh.childNodes]) {
              const name = key(child);
              const same = name ? known.get(name) : at && !key(at) ? at : null;
              if (!same) { old.insertBefore(child, at); continue; }
              if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
              update(same, child);
            }
            while (at) { const next = at.nextSibling; at.remove(); at = next; }
          };
          const alert = text => {
            const node = document.createElement("p");
            node.className = "bad";
            node.setAttribute("role", "alert");
            node.textContent = text;
            byId("alerts").querySelector("[role=alert]")?.remove();
            byId("alerts").prepend(node);
          };

          const ask = async () => {
            const number = ++asked, start = Date.now(), address = new URL(location.href);
            address.searchParams.set("format", "html");
            due = Infinity;
            let page = null, refusal = null;
            try {
              const response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(20000) });
              const text = await response.text();
              if (response.ok) page = new DOMParser().parseFromString(text, "text/html");
              else if (response.status === 400) refusal = text;
            } catch { /* It is told below. */ }
            // A later question has been asked: its answer counts.
            if (number !== asked) return;
            if (page && byId("made", page)) {
              lost = null;
              offset = Date.parse(byId("made", page).querySelector("time").dateTime) - Date.now();
              showAges(page);
              for (const id of parts) update(byId(id), byId(id, page));
              document.title = page.title;
            } else if (refusal) {
              alert(refusal);
            } else {
              lost ??= new Date(Date.now() + offset).toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC");
              alert(`No answer since ${lost}: shown is what was then.`);
            }
            // Never more than a twentieth of the time, however many apps there are.
            due = Date.now() + Math.max(interval, 20 * (Date.now() - start));
          };
          const tick = () => {
            if (document.hidden) return;
            showAges(document);
            if (Date.now() >= due) ask();
          };

          // MARK: Choices of the reader, which the address keeps

          const show = address => {
            if (!hasFormat) address.searchParams.delete("format");
            history.replaceState(null, "", address);
            ask();
          };
          document.addEventListener("click", event => {
            const link = event.target.closest("#tiles a, #apps thead a");
            if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
            event.preventDefault();
            show(new URL(link.href));
          });
          let typing = 0;
          const search = () => {
            const address = new URL(location.href);
            if (input.value) address.searchParams.set("q", input.value); else address.searchParams.delete("q");
            show(address);
          };
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
        sha256: "m+/KMDg8qaU2CEGxBZngLd+Rsh4QAylPsWQdIq2Mr7I=")
}
