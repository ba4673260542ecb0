import HTTP

/// The apps that the page lists and their order, as in its address: `?sort=-size&state=failing&q=foo`. So the page's links work without a
/// script, and a view can be a bookmark. Unknown values mean the default.
struct AppsView {
    /// A column, by its name in the address.
    enum Column: String, CaseIterable {
        case state, name, age, size, source

        var title: StaticString {
            switch self {
            case .state: "State"
            case .name: "App"
            case .age: "Updated"
            case .size: "Size"
            case .source: "Source"
            }
        }

        /// Whether the first click on its head sorts in descending order.
        var startsDescending: Bool { self == .age || self == .size }
    }

    /// By default, apps that need attention come first.
    var column = Column.state
    var isDescending = false
    /// Only apps in this state; `nil` is all.
    var state: AppCondition?
    /// Only apps whose name, source, state or error contains each of its words, in upper or lower case.
    private(set) var search = ""
    private var words: SearchWords?

    /// Why a search is refused.
    static let tooLong =
        "q is too long: at most \(SearchWords.maxWords) words of together \(SearchWords.maxBytes) bytes are looked for"

    init() {}

    /// `nil` when its search is too long.
    init?(query: [Request.QueryItem]) {
        for item in query {
            switch item.name {
            case "sort":
                let name = item.value.hasPrefix("-") ? String(item.value.dropFirst()) : item.value
                guard let column = Column(rawValue: name) else { continue }
                self.column = column
                isDescending = item.value.hasPrefix("-")
            case "state": state = AppCondition(rawValue: item.value)
            case "q":
                guard let words = SearchWords(item.value) else { return nil }
                search = item.value
                self.words = words.isEmpty ? nil : words
            default: continue
            }
        }
    }

    /// This view, sorted by the column, or in the reverse order if it is already sorted by it.
    func sorted(by column: Column) -> AppsView {
        var view = self
        view.isDescending = column == self.column ? !isDescending : column.startsDescending
        view.column = column
        return view
    }

    /// This view with only the apps of one state, or all apps.
    func only(_ state: AppCondition?) -> AppsView {
        var view = self
        view.state = state
        return view
    }

    /// The view as a query with `?`; nothing in it needs escaping in HTML.
    var link: String {
        var items = ["format=html"]
        if column != .state || isDescending { items.append("sort=\(isDescending ? "-" : "")\(column.rawValue)") }
        if let state { items.append("state=\(state.rawValue)") }
        if !search.isEmpty { items.append("q=\(PercentEncoding.encode(search))") }
        return "?" + items.joined(separator: "&amp;")
    }

    /// The entries that it shows, in its order. Equal ones keep the order of their names.
    func apply(to entries: some Collection<AppEntry>) -> [AppEntry] {
        var memory: [UInt8] = []
        let shown = entries.filter { entry in
            guard state == nil || state == entry.condition else { return false }
            guard let words else { return true }
            let texts = [entry.name.description, entry.source.description, entry.origin, entry.condition.rawValue, entry.error ?? ""]
            return words.occur(in: texts, using: &memory)
        }
        switch column {
        case .name: return isDescending ? shown.reversed() : shown
        case .state: return sort(shown) { $0.condition.rank }
        // The youngest has the latest time.
        case .age: return sort(shown) { -($0.lastUpdate?.time.nanoseconds ?? .min + 1) }
        case .size: return sort(shown) { $0.exposition.size }
        case .source: return sort(shown) { $0.origin }
        }
    }

    private func sort<Key: Comparable>(_ entries: [AppEntry], by key: (AppEntry) -> Key) -> [AppEntry] {
        let keyed = entries.map { (key: key($0), entry: $0) }
        // The standard library's sort is stable.
        return keyed.sorted { isDescending ? $1.key < $0.key : $0.key < $1.key }.map(\.entry)
    }
}
