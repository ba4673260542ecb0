import Foundation
import TestSupport
import Testing

/// What the page shows, as a reader sees it: each row's cells, and what stands around the table.
private let readTable = """
    [...document.querySelectorAll('#apps tbody tr')].map(tr => tr.className + ': ' + [...tr.cells].map(c => c.innerText.replace(/^(\\d+ s|now)$/, 'young')).join(' | ')).join('\\n')
    """
private let readRest = """
    ['#tiles', '#daemon', '#shown', '#alerts'].map(id => document.querySelector(id).innerText.replace(/\\d+ (s|open)|now/g, '')).join('\\n')
    """
private let isUpdated =
    "performance.getEntriesByType('resource').some(e => e.responseEnd && e.name.includes('format=html')) && document.querySelector('#search').hidden === false"
private let count = "document.querySelectorAll('#apps tbody tr').length"
/// The alert, with MADE in place of the time at which the table was made.
private let alert = "document.querySelector('[role=alert]')?.innerText.replace(document.querySelector('#made time').innerText, 'MADE')"

// One browser at a time: each is as heavy as all the rest.
@Suite(.serialized) struct BrowsersSeeTheApps {
    private static let hostile = [
        "<script>window.pwned = 1</script>", "<img src=x onerror='window.pwned = 1'>", "</script><script>window.pwned = 1</script>",
        "\"' onmouseover=\"window.pwned = 1", "javascript:window.pwned=1", "&lt;b&gt;", "abc\u{202E}txt.exe", "a\u{2028}b", "größe 大",
        "{{7*7}} ${7*7} `", "__proto__", "constructor", "\\u{41}",
    ]

    private static func push(_ apps: [String: String], to proxy: ProxyProcess) async throws {
        let message = try JSONSerialization.data(withJSONObject: apps)
        #expect(try await pushOverUnixSocket([UInt8](message), to: proxy) == "")
    }

    /// Valid metrics of so many bytes, at least one.
    private static func comment(size: Int) -> String { "#" + String(repeating: "x", count: size - 1) }

    @Test("what the script shows is what the server wrote, in every order and selection, and hostile names stay text")
    func sameWithAndWithoutScript() async throws {
        let config =
            Configurations.scrape(tls: "optional") + Configurations.receivers()
            + Configurations.poll("http://127.0.0.1:1/<b>?x=<script>window.pwned=1</script>")
        try await withProxy(config, certificates: true) { proxy in
            let names = Self.hostile.enumerated().map { ($0.element, Self.comment(size: 1 << $0.offset)) }
            try await Self.push(Dictionary(uniqueKeysWithValues: names), to: proxy)
            try await wait(for: "the first poll") { try await curl("http://\(proxy.scrape)/-/ready").status == 200 }
            let queries = [
                "", "sort=-state", "sort=name", "sort=-name", "sort=-size", "sort=source", "state=failing", "q=%3Cscript",
                "q=GR%C3%96SSE+ok",
            ]
            var steps: [BrowserStep] = []
            for query in queries {
                let open = ("open", "http://\(proxy.scrape)/apps?\(query)")
                steps += [("script", "off"), open, ("eval", readTable), ("eval", readRest)]
                steps += [("script", "on"), open, ("wait", isUpdated), ("eval", readTable), ("eval", readRest)]
            }
            steps += [("eval", "String(window.pwned)"), ("eval", "document.querySelectorAll('script, img, b b').length + ''")]
            let result = try await browse(steps)
            // A policy that forbade something, or an exception, would be there.
            #expect(result.console == "")
            let texts = result.texts
            try #require(texts.count == 4 * queries.count + 2, "\(texts)")
            for (index, query) in queries.enumerated() {
                let four = Array(texts[(4 * index)..<(4 * index + 4)])
                #expect(four[0] == four[2], "\(query)")
                #expect(four[1] == four[3], "\(query)")
            }
            #expect(texts.suffix(2) == ["undefined", "1"])
            let all = texts[0].split(separator: "\n")
            #expect(all.first?.hasPrefix("failing: failing | external_poll: 127.0.0.1:1") == true, "\(all)")
            #expect(all.contains("ok: ok | <script>window.pwned = 1</script> | young | 2 B | \(proxy.folder.path("receiver.sock"))"))
        }
    }

    @Test("a thousand apps are sorted and filtered by keyboard, and kept up to date while the page is visible")
    func aThousandApps() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            let names = (0..<1000).map { "app" + String($0 + 10_000).dropFirst() }
            let apps = names.enumerated().map { ($0.element, Self.comment(size: ($0.offset * 7919) % 1000 + 1)) }
            try await Self.push(Dictionary(uniqueKeysWithValues: apps), to: proxy)
            let firstName = "document.querySelector('#apps tbody th').innerText"
            let shown = "document.querySelector('#shown').innerText"
            let sizeOrder = "document.querySelector('[data-sort=size]').parentElement.ariaSort"
            let beforeNews: [BrowserStep] = [
                ("size", "1280x900"), ("open", "http://\(proxy.scrape)/apps"), ("wait", isUpdated), ("wait", "\(count) === 1000"),
                // Sorted by keyboard alone.
                ("eval", "document.querySelector('[data-sort=name]').focus()"), ("key", "Tab"), ("key", "Tab"), ("key", "Enter"),
                ("wait", "\(sizeOrder) === 'descending'"), ("eval", firstName), ("key", "Enter"), ("wait", "\(sizeOrder) === 'ascending'"),
                ("eval", firstName), ("eval", "location.search"),
                // Filtered likewise.
                ("key", "/"), ("type", "APP042"), ("wait", "\(count) === 10"), ("eval", shown), ("eval", "location.search"),
                ("key", "Escape"), ("wait", "\(count) === 1000"),
                ("eval", "document.querySelector('#tiles .failing').click()"), ("wait", "\(shown) === '0 of 1000 shown'"),
                ("eval", "document.querySelector('#tiles .failing').click()"), ("wait", "\(shown) === '1000 of 1000 shown'"),
                // While the page is hidden it asks for nothing, however late it gets.
                (
                    "eval",
                    """
                    var asked = 0, ticks = 0, later = 0, ask = fetch, clock = performance.now.bind(performance);
                    var kept = document.querySelector('#apps tbody tr');
                    fetch = (...all) => { asked++; return ask(...all); };
                    performance.now = () => clock() + later;
                    setInterval(() => ticks++, 1000); null
                    """
                ),
                ("hidden", "yes"), ("wait", "asked = 0, ticks = 0, later = 3600000"), ("wait", "ticks >= 3"), ("eval", "asked + ' asked'"),
            ]
            let afterNews: [BrowserStep] = [
                ("hidden", "no"), ("wait", "asked > 0"), ("wait", "document.body.innerText.includes('news')"),
                ("eval", "kept.isConnected + ' kept, ' + \(count)"),
            ]
            let afterEnd: [BrowserStep] = [
                ("wait", alert), ("eval", "\(count) + ' still there'"),
            ]
            let result = try await browse(beforeNews + afterNews + afterEnd) { done in
                if done >= beforeNews.count { try await Self.push(["news": "#"], to: proxy) }
                if done >= beforeNews.count + afterNews.count { proxy.program.send(signal: SIGKILL) }
            }
            let largest = try #require(apps.max { $0.1.utf8.count < $1.1.utf8.count }).0
            let smallest = try #require(apps.min { $0.1.utf8.count < $1.1.utf8.count }).0
            let texts = result.texts
            #expect(
                texts == [
                    largest, smallest, "?sort=size", "10 of 1000 shown", "?sort=size&q=APP042",
                    "0 asked", "true kept, 1001", "No answer (the table is as of MADE)", "1001 still there",
                ])
        }
    }

    @Test("choices that are made while an answer is under way all stay, and cause one more request")
    func choicesMeanwhile() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            try await Self.push(["app1": "#", "app2": "#", "other": "#"], to: proxy)
            let hold = "var held = [], ask = fetch; fetch = (...all) => new Promise(go => held.push(() => go(ask(...all)))); null"
            let steps: [BrowserStep] = [
                ("open", "http://\(proxy.scrape)/apps"), ("wait", isUpdated), ("eval", hold),
                ("eval", "document.querySelector('#tiles .ok').click()"), ("wait", "held.length"),
                ("eval", "document.querySelector('[data-sort=size]').click()"),
                ("key", "/"), ("type", "app"), ("wait", "location.search.includes('q=')"),
                ("eval", "location.search + ' ' + held.length"), ("eval", "fetch = ask; held[0](); null"), ("wait", "\(count) === 2"),
                ("eval", "document.querySelector('#tiles [aria-current]').className"),
                ("eval", "document.querySelector('[data-sort=size]').parentElement.ariaSort"), ("eval", "location.search"),
            ]
            let result = try await browse(steps)
            #expect(result.console == "")
            #expect(result.texts == ["?state=ok&sort=-size&q=app 1", "ok", "descending", "?state=ok&sort=-size&q=app"])
        }
    }

    @Test("the filter works when the address of the page has a name and password")
    func credentialsInTheAddress() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            try await Self.push(["app1": "#", "other": "#"], to: proxy)
            let steps: [BrowserStep] = [
                ("open", "http://alice:secret@\(proxy.scrape)/apps"), ("wait", isUpdated), ("key", "/"), ("type", "app"),
                ("wait", "\(count) === 1"), ("eval", "location.search"),
            ]
            let result = try await browse(steps)
            #expect(result.console == "")
            #expect(result.texts == ["?q=app"])
        }
    }

    @Test("the page shows the reason of a refusal, and does not repeat it")
    func refusals() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            try await Self.push(["app": "#"], to: proxy)
            let refuse = """
                var asked = 0, alerts = 0;
                fetch = async () => { asked++; return new Response('too busy\\n', { status: 503, headers: { 'Content-Type': 'text/plain' } }); };
                new MutationObserver(() => alerts++).observe(document.querySelector('#alerts'), { childList: true }); null
                """
            let click = ("eval", "document.querySelector('#tiles .ok').click()")
            let steps: [BrowserStep] = [
                ("open", "http://\(proxy.scrape)/apps"), ("wait", isUpdated), ("eval", refuse), click, ("wait", "alerts && asked"),
                click, ("wait", "asked > 1"), ("eval", "new Promise(go => setTimeout(go)).then(() => alerts + ' alerts')"),
                ("eval", alert),
            ]
            let result = try await browse(steps)
            #expect(result.texts == ["1 alerts", "too busy (the table is as of MADE)"])
        }
    }

    @Test("a request that fails after long, one that is answered after hours, and a clock that is set back do not stop the updates")
    func updatesGoOn() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            try await Self.push(["app": "#"], to: proxy)
            // `later` is how far both clocks went on during a request, `back` how far the clock of the day was set back.
            let clocks = """
                var asked = 0, later = 0, back = 0, ask = fetch, wall = Date.now, clock = performance.now.bind(performance);
                Date.now = () => wall() + later - back;
                performance.now = () => clock() + later;
                fetch = async (...all) => {
                  asked++;
                  if (asked === 1) { later += 20000; throw new TypeError(); }
                  if (asked === 2) later += 8 * 3600000;
                  return ask(...all);
                };
                document.querySelector('#tiles .ok').click();
                """
            let steps: [BrowserStep] = [
                ("open", "http://\(proxy.scrape)/apps"), ("wait", isUpdated), ("eval", "\(clocks) null"), ("wait", alert),
                ("wait", "asked >= 2"), ("wait", "!document.querySelector('[role=alert]') && 'updated'"),
                ("eval", "later += 60000, asked = 2, null"), ("wait", "asked >= 3"),
                ("eval", "back = 3600000, asked = 2, null"), ("wait", "asked >= 3 && 'asked with the clock set back'"),
            ]
            let result = try await browse(steps)
            #expect(result.console == "")
            #expect(result.texts == ["No answer (the table is as of MADE)", "updated", "asked with the clock set back"])
        }
    }

    @Test("a row keeps selection and focus when the rows are put into another order")
    func rowsMove() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            for app in ["aa", "bb", "cc"] { try await Self.push([app: "#"], to: proxy) }
            let names = "[...document.querySelectorAll('#apps tbody th a')].map(a => a.innerText).join('')"
            let size = "const size = app => document.querySelector(`#apps tbody a[href='apps/${app}']`).closest('tr').cells[3]"
            let kept = "document.activeElement.getAttribute('href') + ' has the focus, ' + String(getSelection()) + ' is selected'"
            // The oldest comes first, and each push makes its app the youngest: the first one moves, then the row with both, then the one
            // with the selection alone.
            let orders = ["bbccaa", "ccaabb", "aabbcc"]
            var steps: [BrowserStep] = [
                ("open", "http://\(proxy.scrape)/apps?sort=-age"), ("wait", isUpdated), ("wait", "\(names) === 'aabbcc'"),
                ("eval", "document.querySelector(`#apps tbody a[href='apps/bb']`).focus()"),
                ("eval", "{ \(size); getSelection().selectAllChildren(size('bb')); null }"),
            ]
            var pushes: [(done: Int, app: String)] = []
            for (app, order) in zip(["aa", "bb", "cc"], orders) {
                if app == "cc" { steps.append(("eval", "{ \(size); getSelection().selectAllChildren(size('cc')); null }")) }
                pushes.append((done: steps.count, app: app))
                steps += [("wait", "\(names) === '\(order)'"), ("eval", kept)]
            }
            let result = try await browse(steps) { done in
                while let next = pushes.first, next.done <= done {
                    pushes.removeFirst()
                    try await Self.push([next.app: "#"], to: proxy)
                }
            }
            #expect(result.console == "")
            #expect(result.texts == Array(repeating: "apps/bb has the focus, 2 B is selected", count: 3))
        }
    }

    @Test("the policy stops whatever else would run, load or send; no width of a phone is exceeded")
    func policy() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            try await Self.push([String(repeating: "w", count: 256): "1", "a": String(repeating: "x", count: 5000)], to: proxy)
            let inject = """
                (() => {
                const script = document.createElement('script');
                script.textContent = 'window.pwned = 1';
                document.body.append(script);
                document.body.insertAdjacentHTML('beforeend', '<img src="/metrics" onerror="window.pwned = 2"><p id="p" style="position: fixed">');
                return window.pwned + ' ' + getComputedStyle(document.querySelector('#p')).position;
                })()
                """
            let send = "fetch('http://127.0.0.1:1/').then(() => 'sent', error => error.name)"
            var steps: [BrowserStep] = []
            for path in ["apps", ""] {
                steps += [("open", "http://\(proxy.scrape)/\(path)"), ("eval", inject), ("eval", send)]
            }
            steps += [
                ("size", "360x740"), ("open", "http://\(proxy.scrape)/apps"), ("wait", isUpdated),
                ("eval", "document.documentElement.scrollWidth + ' wide'"),
            ]
            let result = try await browse(steps)
            #expect(result.texts == ["undefined static", "TypeError", "undefined static", "TypeError", "360 wide"])
            let refusals = result.console.split(separator: "\n").filter { $0.contains("Content Security Policy") }
            for directive in ["script-src", "style-src", "connect-src", "default-src"] {
                #expect(refusals.contains { $0.contains("\(directive) ") }, "\(directive): \(result.console)")
            }
        }
    }
}
