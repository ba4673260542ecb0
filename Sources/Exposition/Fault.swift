/// Why Prometheus would refuse a text, and at which byte.
struct Fault: Error {
    enum Kind {
        case nulByte
        case byteOrderMark
        case carriageReturn
        case badStart
        case metaWithoutName(isHelp: Bool)
        case unknownType
        case helpCutsCharacter
        case helpNotUTF8
        case noMetricName
        case secondMetricName
        case emptyName
        case nameNotUTF8
        case badLabelName
        case noEqualsSign
        case noLabelValue
        case openQuote
        case openQuoteInEarlierLine
        case labelValueNotUTF8
        case labelTooLong
        case repeatedLabel
        case reservedLabel
        case noValue
        case badValue
        case valueOutOfRange
        case badTimestamp
        case timestampOutOfRange
        case textAfterTimestamp
        case proxySeries
    }

    var kind: Kind
    /// The byte that the fault is about.
    var offset: Int
    /// The end of the faulty text, if the message quotes it.
    var end: Int

    init(_ kind: Kind, at offset: Int, to end: Int? = nil) {
        self.kind = kind
        self.offset = offset
        self.end = end ?? offset
    }

    /// The finding's message.
    func message(in text: UnsafeRawBufferPointer) -> String {
        let end = min(max(end, offset), text.count)
        let token = UnsafeRawBufferPointer(rebasing: text[min(offset, end)..<end])
        return switch kind {
        case .nulByte: "NUL byte: Prometheus would read no further"
        case .byteOrderMark: "byte order mark: send UTF-8 without one"
        case .carriageReturn: Fault.carriageReturn
        case .badStart: "unexpected \(found(in: text)): a line begins with a metric name or #"
        case .metaWithoutName(let isHelp): "unexpected \(found(in: text)): expected a metric name after # \(isHelp ? "HELP" : "TYPE")"
        case .unknownType where token.last == UInt8(ascii: "\r"): Fault.carriageReturn
        case .unknownType where token.isEmpty: "missing type: write counter, gauge, histogram, summary or untyped after the name"
        case .unknownType:
            "unknown type \(quoted(token)): after the name and one blank, write counter, gauge, histogram, summary or untyped, and nothing more"
        case .helpCutsCharacter: "unexpected \(found(in: text)) in a metric name: expected a blank and the HELP text"
        case .helpNotUTF8: "HELP text is not valid UTF-8"
        case .noMetricName: "missing metric name: write it before the braces"
        case .secondMetricName: "second metric name \(quoted(token)) in one sample"
        case .emptyName: "empty name"
        case .nameNotUTF8: "name is not valid UTF-8"
        case .badLabelName: "unexpected \(found(in: text)): expected a label name or }"
        case .noEqualsSign: "unexpected \(found(in: text)): expected = after the label name"
        case .noLabelValue: "unexpected \(found(in: text)): expected a label value in double quotes"
        case .openQuote: "quoted text has no end: write a double quote after it"
        case .openQuoteInEarlierLine: "quoted text does not end on this line, and what follows cannot be read"
        case .labelValueNotUTF8: "label value is not valid UTF-8"
        case .labelTooLong: "label is longer than \(Parser.maxLabelLength) bytes, which is more than Prometheus can store"
        case .repeatedLabel: "label \(quoted(token)) occurs twice in one sample"
        case .reservedLabel: "label \(quoted(token)) is reserved for the metric name: write the name before the braces"
        case .noValue: "unexpected \(found(in: text)): expected a value"
        case .badValue: badValue(token)
        case .valueOutOfRange: "value \(quoted(token)) is too large for a 64-bit float"
        case .badTimestamp: "unexpected \(found(in: text)): expected the end of the line or a timestamp in milliseconds"
        case .timestampOutOfRange: "timestamp \(quoted(token)) is too large"
        case .textAfterTimestamp: "unexpected \(found(in: text)): expected the end of the line after the timestamp"
        case .proxySeries:
            "series \(quoted(token)) would hide the proxy's own: only exporter-proxy exposes names that begin with exporter_proxy_"
        }
    }

    private static let carriageReturn = "line ends in CR LF: end lines with LF alone"

    private func badValue(_ token: UnsafeRawBufferPointer) -> String {
        if token.last == UInt8(ascii: "\r") { return Fault.carriageReturn }
        if token.contains(UInt8(ascii: ",")) { return "value \(quoted(token)) is not a number: write a decimal point, not a comma" }
        return "value \(quoted(token)) is not a number"
    }

    /// The byte at fault, in words.
    private func found(in text: UnsafeRawBufferPointer) -> String {
        guard offset < text.count else { return "end of text" }
        switch text[offset] {
        case UInt8(ascii: "\n"): return "end of line"
        case UInt8(ascii: "\r"): return "carriage return (end lines with LF alone)"
        case UInt8(ascii: "\t"), UInt8(ascii: " "): return "blank"
        default:
            // The whole character, which has at most four bytes.
            let rest = text[offset..<min(offset + 4, text.count)]
            let character = String(decoding: rest, as: UTF8.self).unicodeScalars.first.map { String($0) } ?? ""
            return excerpt(Array(character.utf8), quote: "'")
        }
    }

    private func quoted(_ token: UnsafeRawBufferPointer) -> String { excerpt(token, quote: "\"") }
}

/// Bytes as messages show them: in quotes, on one line, printable, at most about forty characters.
func excerpt(_ bytes: some Collection<UInt8>, quote: String) -> String {
    let limit = 40
    var result = quote
    var count = 0
    for scalar in String(decoding: bytes.prefix(4 * limit), as: UTF8.self).unicodeScalars {
        guard count < limit else { break }
        count += 1
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    if count == limit, bytes.count > limit { result += "…" }
    return result + quote
}
