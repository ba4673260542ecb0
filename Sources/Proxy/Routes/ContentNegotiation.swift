/// The q-values of `Accept` and `Accept-Encoding` (RFC 9110 §12.5.1, §12.5.3). A client that accepts nothing gets the plain form and no
/// error, as RFC 9110 §12.4.1 allows, because a refused scrape is of no use.
enum ContentNegotiation {
    /// Whether gzip is acceptable and preferred at least as much as no coding.
    static func prefersGzip(_ acceptEncoding: String?) -> Bool {
        guard let acceptEncoding else { return false }
        // What Prometheus sends.
        if acceptEncoding == "gzip" { return true }
        var gzip: Int?
        var identity: Int?
        var others: Int?
        for element in elements(of: acceptEncoding) {
            switch element.value {
            case "gzip", "x-gzip": gzip = max(gzip ?? 0, element.weight)
            case "identity": identity = element.weight
            case "*": others = element.weight
            default: break
            }
        }
        // Identity is acceptable by default. If only identity is refused, gzip remains.
        let gzipWeight = gzip ?? others ?? (identity == 0 ? 1 : 0)
        let identityWeight = identity ?? others ?? 0
        return gzipWeight > 0 && gzipWeight >= identityWeight
    }

    /// Which of `offered` (such as `text/plain`, the server's preference first) the client prefers; the first when it names none.
    /// With equal weights a named type wins over a wildcard, then the one that the client names first.
    static func preferred<Form>(of offered: [(type: String, form: Form)], accept: String?) -> Form? {
        guard let accept, accept != "*/*" else { return offered.first?.form }
        let ranges = elements(of: accept)
        var best: (rank: Rank, form: Form)?
        for (type, form) in offered {
            guard let rank = rank(of: type, in: ranges), rank.weight > 0 else { continue }
            if let best, !(best.rank < rank) { continue }
            best = (rank, form)
        }
        return best?.form ?? offered.first?.form
    }

    private struct Rank: Comparable {
        var weight: Int
        /// 2 for `type/subtype`, 1 for `type/*`, 0 for `*/*`.
        var specificity: Int
        /// The place of the range in the header.
        var position: Int

        static func < (a: Rank, b: Rank) -> Bool {
            (a.weight, a.specificity, b.position) < (b.weight, b.specificity, a.position)
        }
    }

    /// The weight is that of the most specific range that covers `type`. Parameters (`version=0.0.4`) do not matter.
    private static func rank(of type: String, in ranges: [Element]) -> Rank? {
        let family = type.prefix { $0 != "/" }
        var found: Rank?
        for (position, range) in ranges.enumerated() {
            let specificity: Int
            switch range.value {
            case type: specificity = 2
            case family + "/*": specificity = 1
            case "*/*": specificity = 0
            default: continue
            }
            if let found, found.specificity >= specificity { continue }
            found = Rank(weight: range.weight, specificity: specificity, position: position)
        }
        return found
    }

    private struct Element {
        /// In lower case.
        var value: String
        /// Thousandths.
        var weight: Int
    }

    /// Only these first bytes are read. A header may be as long as a head, it is read on an event loop, and no client needs more.
    private static let maxBytes = 1024
    /// Only these first elements are read; empty ones do not count.
    private static let maxElements = 32

    /// The comma-separated elements; one with a malformed weight does not count.
    private static func elements(of header: String) -> [Element] {
        let read = header.utf8.prefix(maxBytes)
        var parts = split(read, at: UInt8(ascii: ","), omittingEmpty: true)
        // The limit may have cut the last one.
        if read.endIndex < header.utf8.endIndex, parts.last?.endIndex == read.endIndex { parts.removeLast() }
        return parts.map(trim).filter { !$0.isEmpty }.prefix(maxElements).compactMap(element)
    }

    private static func element(_ text: Substring.UTF8View) -> Element? {
        let parts = split(text, at: UInt8(ascii: ";"))
        let value = String(Substring(trim(parts[0]))).lowercased()
        if value.isEmpty { return nil }
        for parameter in parts.dropFirst() {
            let text = trim(parameter)
            guard text.first == UInt8(ascii: "q") || text.first == UInt8(ascii: "Q") else { continue }
            // A blank before `=` makes the weight malformed; `quality=1` is another parameter.
            guard let sign = trim(text.dropFirst()).first, sign == UInt8(ascii: "=") else { continue }
            guard text.dropFirst().first == sign, let weight = weight(text.dropFirst(2)) else { return nil }
            return Element(value: value, weight: weight)
        }
        return Element(value: value, weight: 1000)
    }

    /// `0`, `0.5`, `1.000`: at most three digits after the point, at most 1 (RFC 9110 §12.4.2).
    private static func weight(_ text: Substring.UTF8View) -> Int? {
        let digits = Array(text)
        guard let first = digits.first, first == UInt8(ascii: "0") || first == UInt8(ascii: "1"), digits.count <= 5 else { return nil }
        if digits.count > 1, digits[1] != UInt8(ascii: ".") { return nil }
        var thousandths = Int(first - UInt8(ascii: "0")) * 1000
        var place = 100
        for digit in digits.dropFirst(2) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            thousandths += Int(digit - UInt8(ascii: "0")) * place
            place /= 10
        }
        return thousandths <= 1000 ? thousandths : nil
    }

    /// Separators within a quoted string are text.
    private static func split(
        _ text: Substring.UTF8View, at separator: UInt8, omittingEmpty: Bool = false
    ) -> [Substring.UTF8View] {
        var parts: [Substring.UTF8View] = []
        var start = text.startIndex
        var isQuoted = false
        var isEscaped = false
        for index in text.indices {
            let byte = text[index]
            if isEscaped {
                isEscaped = false
            } else if isQuoted, byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isQuoted.toggle()
            } else if byte == separator, !isQuoted {
                if !omittingEmpty || start < index { parts.append(text[start..<index]) }
                start = text.index(after: index)
            }
        }
        if !omittingEmpty || start < text.endIndex { parts.append(text[start...]) }
        return parts
    }

    private static func trim(_ text: Substring.UTF8View) -> Substring.UTF8View {
        let isSpace: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        var rest = text.drop(while: isSpace)
        while let last = rest.last, isSpace(last) { rest = rest.dropLast() }
        return rest
    }
}
