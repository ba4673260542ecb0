import Exposition
import HTTP
import NIOCore

/// `/apps` for browsers: one file that needs no other, and is complete without its script. The script updates it: it fetches the page again
/// and replaces what differs.
struct AppsPage {
    /// The limit of rows in the table. More would be slow to show; the search finds the others.
    static let maxRows = 2000

    static let policy = PageAsset.policy(style: PageStyle.asset, script: AppsPageScript.asset)

    let status: DaemonStatus
    let isReady: Bool
    /// Series that are exposed more than once; `nil` before the first search has ended.
    var collisions: Collisions?
    /// Whether `app_label` is set.
    let hasAppLabel: Bool
    let view: AppsView
    let now: Moment

    /// The whole page.
    func html(of entries: some Collection<AppEntry>) -> ByteBuffer {
        let shown = view.apply(to: entries)
        var counts: [AppCondition: Int] = [:]
        var size = 0
        for entry in entries {
            counts[entry.condition, default: 0] += 1
            size += entry.exposition.size
        }
        var html = HTMLWriter(capacity: 24_000 + 400 * min(shown.count, Self.maxRows))
        let failing = counts[.failing] ?? 0
        html.head(title: failing > 0 ? "\(failing) failing · exporter-proxy" : "Apps · exporter-proxy")
        writeHeader(&html)
        writeAlerts(&html)
        writeTiles(&html, counts, count: entries.count, size: size)
        writeDaemon(&html)
        html.raw("<section aria-label=\"Apps\">\n<div id=\"bar\"><p id=\"search\" hidden><input type=\"search\" id=\"q\" value=\"")
        html.field(view.search)
        html.raw(
            "\" placeholder=\"Filter by name, source, error\" aria-label=\"Filter the apps\" maxlength=\"256\" autocomplete=\"off\" spellcheck=\"false\">"
        )
        html.raw("<kbd>/</kbd></p>\n<p id=\"shown\" role=\"status\">")
        writeCount(&html, shown: shown.count, of: entries.count)
        html.raw("</p></div>\n")
        writeTable(shown, isFiltered: shown.count < entries.count, &html)
        html.raw("</section>\n</main>\n<footer><p id=\"made\">As of <time datetime=\"")
        html.text(now.time.rfc3339)
        html.raw("\">")
        html.text(now.time.tableText)
        html.raw("</time></p></footer>\n<script>")
        html.raw(AppsPageScript.asset.text)
        html.raw("</script>\n</body>\n</html>\n")
        return html.buffer
    }

    private func writeHeader(_ html: inout HTMLWriter) {
        html.raw(
            """
            <header>
            <h1><a href="./">exporter-proxy</a></h1>
            <nav aria-label="Other forms"><a href="metrics">metrics</a> <a href="apps?format=text">text</a> \
            <a href="apps?format=json">JSON</a> <a href="sd">discovery</a></nav>
            </header>
            <main>

            """)
    }

    // MARK: - What needs attention

    private func writeAlerts(_ html: inout HTMLWriter) {
        html.raw("<div id=\"alerts\">")
        if !isReady { html.raw("<p class=\"warn\">Not ready: starting or stopping.</p>") }
        if let reload = status.lastReload, let error = reload.error {
            html.raw("<div class=\"bad\"><p>The last reload failed ")
            writeTime(reload.time, suffix: " ago", &html)
            html.raw("; the previous configuration stays in force.</p><pre>")
            html.text(error, keepsLines: true)
            html.raw("</pre></div>")
        }
        if let collisions, let count = collisions.count, count > 0 {
            html.raw("<p class=\"warn\"><a href=\"collisions\">")
            html.text(count == 1 ? "1 series is" : "\(count) series are")
            html.raw(" exposed more than once</a>: Prometheus keeps one sample of each.")
            html.text(collisions.remedy(hasAppLabel: hasAppLabel))
            html.raw("</p>")
        }
        for listener in status.listeners {
            guard let end = listener.certificateEnd, let grade = grade(of: end) else { continue }
            html.raw("<p class=\"")
            html.raw(grade)
            html.raw("\">The certificate of ")
            html.text(listener.name)
            html.raw(" ")
            html.text(remaining(until: end))
            html.raw(".</p>")
        }
        html.raw("</div>\n")
    }

    /// The class of the banner for a certificate that ends at `end`; `nil` for none.
    private func grade(of end: Timestamp) -> StaticString? {
        let seconds = end.seconds - now.time.seconds
        return seconds <= 0 ? "bad" : seconds < Duration.certificateNotice.components.seconds ? "warn" : nil
    }

    private func remaining(until end: Timestamp) -> String {
        let seconds = end.seconds - now.time.seconds
        return seconds > 0 ? "ends in \(ShortText.span(seconds))" : "ended \(ShortText.span(-seconds)) ago"
    }

    // MARK: - At a glance

    private func writeTiles(_ html: inout HTMLWriter, _ counts: [AppCondition: Int], count: Int, size: Int) {
        html.raw("<nav id=\"tiles\" aria-label=\"Apps by state\">")
        writeTile(&html, nil, title: "apps", count: count)
        for condition in AppCondition.allCases { writeTile(&html, condition, title: condition.rawValue, count: counts[condition] ?? 0) }
        html.raw("<span><b id=\"size\">")
        html.text(ShortText.size(size))
        html.raw("</b> metrics</span></nav>\n")
    }

    private func writeTile(_ html: inout HTMLWriter, _ state: AppCondition?, title: String, count: Int) {
        html.raw("<a href=\"")
        // The link of the selected state leads back to all states.
        html.markup(view.only(view.state == state ? nil : state).link)
        html.raw("\" class=\"")
        html.markup(state?.rawValue ?? "all")
        html.raw(count == 0 ? " none\"" : "\"")
        if view.state == state { html.raw(" aria-current=\"true\"") }
        html.raw(state == nil ? "><b>" : "><b class=\"")
        if let state {
            html.raw(state.tone)
            html.raw("\">")
        }
        html.number(count)
        html.raw("</b> ")
        html.markup(title)
        html.raw("</a>")
    }

    private func writeDaemon(_ html: inout HTMLWriter) {
        html.raw("<ul id=\"daemon\" aria-label=\"Listeners\">")
        for listener in status.listeners {
            html.raw("<li><span>")
            html.raw(listener.kind.title)
            if let format = listener.format {
                html.raw(" · ")
                html.text(format.rawValue)
            }
            html.raw("</span><b>")
            html.text(listener.name)
            html.raw("</b><span>")
            if listener.kind != .unix {
                html.raw("TLS ")
                html.text(listener.tls)
                html.raw(" · ")
            }
            html.number(listener.openConnections)
            html.raw(" open</span>")
            if let end = listener.certificateEnd {
                html.raw("<span class=\"")
                html.raw(grade(of: end) ?? "fine")
                html.raw("\" title=\"")
                html.text(end.tableText)
                html.raw("\">certificate ")
                html.text(remaining(until: end))
                html.raw("</span>")
            }
            html.raw("</li>")
        }
        html.raw("<li><span>Configuration</span><b>")
        if let reload = status.lastReload {
            html.raw(reload.error == nil ? "reloaded " : "reload failed ")
            writeTime(reload.time, suffix: " ago", &html)
        } else {
            html.raw("as at the start")
        }
        html.raw("</b><span>version ")
        html.text(status.version)
        html.raw(" · up ")
        writeTime(status.startTime, suffix: "", &html)
        html.raw("</span></li></ul>\n")
    }

    /// Writes its age, with the exact time as a tooltip. The script keeps the age up to date.
    /// - Parameters:
    ///   - shown: the time of the tooltip, when it is not `time`.
    ///   - suffix: follows the age, unless that is `now`.
    private func writeTime(_ time: Timestamp, shown: Timestamp? = nil, suffix: StaticString, _ html: inout HTMLWriter) {
        let age = ShortText.age(of: time, at: now.time)
        html.raw("<time datetime=\"")
        html.text(time.rfc3339)
        html.raw("\" title=\"")
        html.text((shown ?? time).tableText)
        html.raw("\" data-age=\"")
        html.raw(suffix)
        html.raw("\">")
        html.text(age)
        if age != "now" { html.raw(suffix) }
        html.raw("</time>")
    }

    // MARK: - The apps

    private func writeCount(_ html: inout HTMLWriter, shown: Int, of count: Int) {
        html.number(min(shown, Self.maxRows))
        html.raw(" of ")
        if shown > Self.maxRows, shown < count {
            html.number(shown)
            html.raw(" that match, of ")
        }
        html.number(count)
        html.raw(" shown")
    }

    private func writeTable(_ entries: [AppEntry], isFiltered: Bool, _ html: inout HTMLWriter) {
        html.raw("<table id=\"apps\">\n<thead><tr>")
        for column in AppsView.Column.allCases {
            html.raw("<th scope=\"col\"")
            if column == view.column { html.raw(view.isDescending ? " aria-sort=\"descending\"" : " aria-sort=\"ascending\"") }
            html.raw("><a href=\"")
            html.markup(view.sorted(by: column).link)
            html.raw("\" data-sort=\"")
            html.text(column.rawValue)
            html.raw("\">")
            html.raw(column.title)
            html.raw("</a></th>")
        }
        html.raw("</tr></thead>\n<tbody>\n")
        for entry in entries.prefix(Self.maxRows) { writeRow(of: entry, &html) }
        if entries.isEmpty {
            html.raw("<tr class=\"empty\"><td colspan=\"5\">")
            html.raw(isFiltered ? "No app matches" : "No apps yet")
            html.raw("</td></tr>\n")
        }
        html.raw("</tbody>\n</table>\n")
    }

    private func writeRow(of entry: AppEntry, _ html: inout HTMLWriter) {
        let name = PercentEncoding.encode(entry.name.description)
        html.raw("<tr class=\"")
        html.markup(entry.condition.rawValue)
        html.raw("\"><td><span class=\"")
        html.raw(entry.condition.tone)
        html.raw("\">")
        html.markup(entry.condition.rawValue)
        html.raw("</span></td><th scope=\"row\"><a href=\"")
        // Browsers remove a last `.` or `..` from the path, also as `%2E`.
        html.raw(name == "." || name == ".." ? "metrics?app=" : "apps/")
        html.markup(name)
        html.raw("\">")
        html.text(entry.name.description)
        html.raw("</a>")
        if let error = entry.error {
            html.raw("<p>")
            html.text(error)
            html.raw("</p>")
        }
        html.raw("</th><td>")
        if let update = entry.lastUpdate {
            writeTime(update.time(at: now), shown: update.time, suffix: "", &html)
        } else {
            html.raw("never")
        }
        html.raw("</td><td title=\"")
        html.number(entry.exposition.size)
        html.raw(" bytes\"><a href=\"metrics?app=")
        html.markup(name)
        html.raw("\">")
        html.text(ShortText.size(entry.exposition.size))
        html.raw("</a></td><td>")
        html.text(entry.origin)
        html.raw("</td></tr>\n")
    }
}

extension Moment {
    /// The wall-clock time of this moment, by the clock as it is set at `now`. If the clock was set after this moment, the time that was
    /// noted would give a wrong age. The difference is rounded to seconds, so that small ones do not change the row in each new page.
    fileprivate func time(at now: Moment) -> Timestamp {
        let elapsed = now.time.nanoseconds &- time.nanoseconds
        let age = now.instant.nanoseconds &- instant.nanoseconds
        let seconds = (Double(elapsed &- age) / 1e9).rounded()
        return Timestamp(nanoseconds: time.nanoseconds &+ Int64(seconds) &* 1_000_000_000)
    }
}

extension DaemonStatus.Listener.Kind {
    fileprivate var title: StaticString {
        switch self {
        case .scrape: "Scrape"
        case .tcp: "Push over TCP"
        case .unix: "Push over Unix socket"
        case .http: "Push over HTTP"
        }
    }
}
