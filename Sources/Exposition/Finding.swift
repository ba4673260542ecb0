/// One fault in the metrics of an app: where it is and what is wrong.
public struct Finding: Error, Equatable, Sendable {
    /// What the fault means for a reader.
    public enum Severity: String, Equatable, Sendable {
        /// Prometheus refuses the whole scrape.
        case error
        /// Prometheus reads it; stricter readers or the description of the format refuse it.
        case warning
    }

    /// What the fault means for a reader.
    public var severity: Severity
    /// The line, from 1.
    public var line: Int
    /// The column from 1, in bytes of the text as it was sent.
    public var column: Int
    /// What is wrong and what to do, in lower case without a final period.
    public var message: String

    /// Makes a finding from its parts.
    public init(severity: Severity, line: Int, column: Int, message: String) {
        self.severity = severity
        self.line = line
        self.column = column
        self.message = message
    }

    /// Where and what, for one line of text.
    public var sentence: String { "line \(line), column \(column): \(message)" }
}

/// The findings of one text: the first ones, and the number of all.
public struct Findings: Equatable, Sendable {
    /// How many findings are kept. Errors are kept before warnings.
    public static let limit = 20

    /// The kept errors in the order of the text.
    private var keptErrors: [Finding] = []
    /// The kept warnings in the order of the text.
    private var keptWarnings: [Finding] = []
    /// The number of all errors.
    public private(set) var errors = 0
    /// The number of all warnings.
    public private(set) var warnings = 0

    /// Nothing was found.
    public init() {}

    /// Whether Prometheus reads the text.
    public var isValid: Bool { errors == 0 }

    /// The number of all findings, kept or not.
    public var count: Int { errors + warnings }

    /// The first error; `nil` for valid text.
    public var firstError: Finding? { keptErrors.first }

    /// At most `limit` findings in the order of the text.
    public var kept: [Finding] {
        let shown = keptErrors + keptWarnings.prefix(Findings.limit - keptErrors.count)
        return shown.sorted { ($0.line, $0.column) < ($1.line, $1.column) }
    }

    /// Whether one more finding of this severity would be kept.
    func keeps(_ severity: Finding.Severity) -> Bool {
        switch severity {
        case .error: keptErrors.count < Findings.limit
        case .warning: keptWarnings.count < Findings.limit
        }
    }

    /// Counts a finding, and keeps it if there is room. `finding` is called only then.
    mutating func add(_ severity: Finding.Severity, _ finding: () -> Finding) {
        switch severity {
        case .error:
            errors += 1
            if keeps(.error) { keptErrors.append(finding()) }
        case .warning:
            warnings += 1
            if keeps(.warning) { keptWarnings.append(finding()) }
        }
    }
}

/// Turns offsets into lines and columns. The offsets of one text come nearly in ascending order, so all of them together cost one pass.
struct Locator {
    private let text: UnsafeRawBufferPointer
    /// A known place: the line that begins at `lineStart`.
    private var lineStart = 0
    private var line = 1

    init(_ text: UnsafeRawBufferPointer) { self.text = text }

    /// The line and column, both from 1, of the byte at `offset`.
    mutating func place(of offset: Int) -> (line: Int, column: Int) {
        while lineStart > offset {
            // Back to the start of the line before.
            lineStart -= 1
            line -= 1
            while lineStart > 0, text[lineStart - 1] != UInt8(ascii: "\n") { lineStart -= 1 }
        }
        var index = lineStart
        while index < offset {
            if text[index] == UInt8(ascii: "\n") {
                line += 1
                lineStart = index + 1
            }
            index += 1
        }
        return (line, offset - lineStart + 1)
    }
}

/// An error in a text, and its first byte.
struct Fault: Error {
    enum Kind {
        case nulByte
        case byteOrderMark
        case carriageReturn
        case tooManyBlankLines
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
        case tooManyLabels
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
        case .tooManyBlankLines:
            "more than \(Validator.maxBlankLines) blank lines in a row: Prometheus before 3.14 crashes if there are very many, so leave them out"
        case .badStart: "unexpected \(found(in: text)): a line begins with a metric name or #"
        case .metaWithoutName(let isHelp): "unexpected \(found(in: text)): expected a metric name after # \(isHelp ? "HELP" : "TYPE")"
        case .unknownType where token.last == UInt8(ascii: "\r"): Fault.carriageReturn
        case .unknownType where token.isEmpty: "missing type: write counter, gauge, histogram, summary or untyped after the name"
        case .unknownType:
            "unknown type \(quoted(token)): after the name and one space or tab, write counter, gauge, histogram, summary or untyped, and nothing more"
        case .helpCutsCharacter: "unexpected \(found(in: text)) in a metric name: expected a space or tab and the HELP text"
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
        case .tooManyLabels:
            "more than \(Parser.maxLabels) labels in one sample, with those that are added: readers take very long or much memory for it"
        case .labelTooLong: "name or label is longer than \(Parser.maxLabelLength) bytes, which is more than Prometheus can store"
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
        case UInt8(ascii: "\t"): return "tab"
        case UInt8(ascii: " "): return "space"
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
    // A character has at most four bytes, so these are more than `limit` characters if the bytes have more.
    for scalar in String(decoding: bytes.prefix(4 * limit + 1), as: UTF8.self).unicodeScalars {
        guard count < limit else {
            result += "…"
            break
        }
        count += 1
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            result += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + quote
}

/// A warning: Prometheus 3 reads it, but older versions, stricter readers or the description of the format refuse it.
struct Warning {
    enum Kind {
        case noFinalNewline
        case commentNotUTF8
        case proxySeries
        // HELP and TYPE
        case secondHelp
        case secondType
        case metaOfSample
        case typeAfterSamples
        case familyNameWithSuffix
        case nameEndsEarly
        case noBlankAfterHash
        case unknownHelpEscape
        // Families and series
        case interleaved
        case secondSample
        case bucketWithoutLe
        case histogramSampleWithoutSuffix
        case summaryWithoutQuantile
        case boundNotNumber
        // The way in which a sample is written
        case quotedName
        case quotedLabelName
        case blankBeforeName
        case noBlankBeforeValue
        case blankAtEnd
        case noComma
        case lineBreakInValue
        case unknownEscape
        case repeatedEmptyLabel
    }

    var kind: Kind
    /// The byte that the warning is about.
    var offset: Int
    /// The end of the name that the message quotes.
    var end: Int

    /// The finding's message.
    func message(in text: UnsafeRawBufferPointer) -> String {
        let name = excerpt(text[offset..<max(end, offset)], quote: "\"")
        return switch kind {
        case .noFinalNewline: "missing newline at the end of the text"
        case .commentNotUTF8: "comment is not valid UTF-8: exporter-proxy refuses such metrics"
        case .proxySeries: "series whose names begin with exporter_proxy_ hide those of exporter-proxy itself"
        case .secondHelp: "second HELP line for \(name)"
        case .secondType: "second TYPE line for \(name)"
        case .metaOfSample:
            "\(name) is a sample of the histogram or summary before it: other readers take this for a second HELP or TYPE line of that"
        case .typeAfterSamples: "TYPE line for \(name) after its samples: write it before them"
        case .familyNameWithSuffix:
            "\(name) is a histogram or summary, but its name ends like that of one of its samples: write the name without the last part"
        case .nameEndsEarly: "character in a metric name that cannot be part of it: Prometheus ends the name here"
        case .noBlankAfterHash: "no space after #: Prometheus takes this line for a comment, and other readers for HELP or TYPE"
        case .unknownHelpEscape: "unknown escape sequence in a HELP text: write \\\\ for a backslash"
        case .interleaved: "samples of \(name) are not in one group: samples of other metrics are between them"
        case .secondSample: "series of \(name) occurs twice: without timestamps of their own, Prometheus keeps the first sample"
        case .bucketWithoutLe: "\(name) is a bucket of a histogram, but has no label le"
        case .histogramSampleWithoutSuffix: "\(name) is a histogram: the names of its samples end in _bucket, _sum or _count"
        case .summaryWithoutQuantile: "\(name) is a summary, but this sample has no label quantile"
        case .boundNotNumber: "\(name) has a label le or quantile whose value is not a number"
        case .quotedName: "quoted metric name: Prometheus 2 refuses it"
        case .quotedLabelName: "quoted label name: Prometheus 2 refuses it"
        case .blankBeforeName: "space or tab before the metric name: Prometheus 2 refuses it, and for Prometheus 3 it is part of the name"
        case .noBlankBeforeValue: "missing space or tab between name and value"
        case .blankAtEnd: "space or tab at the end of the line"
        case .noComma: "missing comma between labels"
        case .lineBreakInValue: "line break in a label value: write \\n"
        case .unknownEscape: "unknown escape sequence in a label value: write \\\\ for a backslash"
        case .repeatedEmptyLabel: "label \(name) occurs twice in one sample, and is empty: Prometheus drops all of them"
        }
    }
}
