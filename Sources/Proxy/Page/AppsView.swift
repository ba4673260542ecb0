import CText
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
        // The youngest has the latest instant.
        case .age: return sort(shown) { ~($0.lastUpdate?.instant.nanoseconds ?? .min) }
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

/// The search words of the page of apps. Each must occur in the texts of an app; upper and lower case are the same for Latin, Greek and
/// Cyrillic letters.
///
/// Every client can search a hundred thousand apps. So the words are few and short, and a search compares bytes in linear time.
struct SearchWords: Sendable {
    /// The longest text of words.
    static let maxBytes = 256
    /// The limit of words.
    static let maxWords = 8

    private let words: [[UInt8]]

    /// `nil` when the text is too long, or has too many words.
    init?(_ text: String) {
        guard text.utf8.count <= Self.maxBytes else { return nil }
        var folded: [UInt8] = []
        Self.fold(text, into: &folded)
        // At blanks and at control characters, tabs among them.
        words = folded.split { $0 <= 0x20 || $0 == 0x7F }.map(Array.init)
        guard words.count <= Self.maxWords else { return nil }
    }

    /// Whether there are no words.
    var isEmpty: Bool { words.isEmpty }

    /// Whether each word occurs in one of the texts.
    /// - Parameter memory: working memory; its content does not matter.
    func occur(in texts: [String], using memory: inout [UInt8]) -> Bool {
        memory.removeAll(keepingCapacity: true)
        for text in texts {
            Self.fold(text, into: &memory)
            // No word contains a blank, so none matches across two texts.
            memory.append(UInt8(ascii: " "))
        }
        return memory.withUnsafeBufferPointer { text in
            words.allSatisfy { word in
                word.withUnsafeBufferPointer { ctext_contains(text.baseAddress, text.count, $0.baseAddress, $0.count) }
            }
        }
    }

    /// Appends the text with capital letters replaced by small ones.
    static func fold(_ text: String, into bytes: inout [UInt8]) {
        var text = text
        text.withUTF8 { source in
            let start = bytes.count
            bytes.append(contentsOf: source)
            var index = start
            while index < bytes.count {
                let byte = bytes[index]
                if byte < 0x80 {
                    if (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) { bytes[index] = byte | 0x20 }
                    index += 1
                } else if byte < 0xE0, index + 1 < bytes.count {
                    // Two bytes: U+0080 to U+07FF.
                    let small = Self.small(UInt16(byte & 0x1F) << 6 | UInt16(bytes[index + 1] & 0x3F))
                    bytes[index] = 0xC0 | UInt8(small >> 6)
                    bytes[index + 1] = 0x80 | UInt8(small & 0x3F)
                    index += 2
                } else {
                    index += byte < 0xF0 ? 3 : 4
                }
            }
        }
    }

    /// The small letter of a capital one between U+0080 and U+07FF, where it is one of these, too; any other character itself, except the
    /// final sigma.
    private static func small(_ scalar: UInt16) -> UInt16 {
        switch scalar {
        // Latin-1, without ×; Greek; Cyrillic.
        case 0xC0...0xD6, 0xD8...0xDE, 0x391...0x3A1, 0x3A3...0x3AB, 0x410...0x42F: scalar + 0x20
        case 0x400...0x40F: scalar + 0x50
        // Latin Extended-A and the rest of Cyrillic: in pairs, the capital one first.
        case 0x100...0x12F, 0x132...0x137, 0x14A...0x177, 0x460...0x481, 0x48A...0x4BF, 0x4D0...0x52F: scalar | 1
        case 0x139...0x148, 0x179...0x17E, 0x4C1...0x4CE: scalar % 2 == 1 ? scalar + 1 : scalar
        case 0x178: 0xFF
        case 0x4C0: 0x4CF
        // The sigma at the end of a word has the same capital letter as the other one.
        case 0x3C2: 0x3C3
        // Greek with an accent.
        case 0x386: 0x3AC
        case 0x388...0x38A: scalar + 37
        case 0x38C: 0x3CC
        case 0x38E...0x38F: scalar + 63
        default: scalar
        }
    }
}
