import Glibc

/// The errors, warnings and numbers of one app's metrics.
///
/// The background checks and `lint` make it. It takes several times as long as `Validator.firstError`, and memory for the names of families
/// and series, up to a limit.
public struct Survey: Equatable, Sendable {
    /// The findings.
    public private(set) var findings = Findings()
    /// The number of samples that can be read.
    public private(set) var samples = 0
    /// The number of families: names with a sample, a HELP or a TYPE. A lower bound beyond `Survey.maxFamilies`.
    public private(set) var families = 0

    /// How many families of one text are remembered; warnings do not cover further ones.
    public static let maxFamilies = 1 << 18
    /// How many series of one text are remembered; repetitions of further ones are not found.
    public static let maxSeries = 1 << 20

    /// Checks a text.
    /// - Parameter isStored: whether the proxy stores the text and has therefore added a missing final newline.
    public init(of text: UnsafeRawBufferPointer, with validator: Validator = Validator(), isStored: Bool = false) {
        let lacksNewline = !isStored && text.last.map { $0 != UInt8(ascii: "\n") } ?? false
        let end = text.count
        self = validator.withTerminated(text) { text in
            var surveyor = Surveyor(text)
            surveyor.run(validator)
            if lacksNewline { surveyor.warn(.noFinalNewline, at: end) }
            return surveyor.survey
        }
    }

    fileprivate init() {}

    fileprivate mutating func add(_ severity: Finding.Severity, _ finding: () -> Finding) { findings.add(severity, finding) }
    fileprivate mutating func countSample() { samples += 1 }
    fileprivate mutating func setFamilies(_ count: Int) { families = count }
}

/// Makes a survey in one pass over a text.
private struct Surveyor: ~Copyable {
    var survey = Survey()
    private let text: Text
    private var locator: Locator
    private var families: [UInt64: Family] = [:]
    private var seriesSeen = SeenHashes()
    /// The family of the last sample, HELP or TYPE.
    private var current: UInt64?
    /// The last sample's name and the values that depend on it. The next sample often has the same name.
    private var lastName = 0..<0
    private var lastNameHash: UInt64 = 0
    private var lastFamily: UInt64 = 0
    private var lastType: MetricType?
    /// Families that have a sample with an odd name.
    private var familiesWithOddNames: Set<UInt64> = []

    private struct Family {
        var type: MetricType?
        /// Whether it has a HELP line of its own name.
        var hasHelp = false
        /// Whether a HELP line has a text, also one of the name of a sample. Go's parser skips one without.
        var hasHelpText = false
        var hasSamples = false
        var isInterleaved = false
    }

    init(_ text: UnsafeRawBufferPointer) {
        self.text = Text(text)
        locator = Locator(text)
    }

    mutating func run(_ validator: Validator) {
        var parser: Parser
        do throws(Fault) {
            parser = try validator.parser(for: text.bytes)
        } catch {
            note(error)
            // The proxy refuses such a text as a whole.
            return
        }
        while true {
            do throws(Fault) {
                switch try validator.next(&parser) {
                case .end:
                    survey.setFamilies(families.count)
                    return
                case .comment: comment(parser)
                case .help: help(parser)
                case .type: type(parser)
                case .sample: sample(parser)
                }
            } catch {
                note(error)
                parser.skipLine()
            }
        }
    }

    private mutating func note(_ fault: Fault) {
        survey.add(.error) {
            let place = locator.place(of: fault.offset)
            return Finding(severity: .error, line: place.line, column: place.column, message: fault.message(in: text.bytes))
        }
    }

    mutating func warn(_ kind: Warning.Kind, at offset: Int, to end: Int? = nil) {
        let warning = Warning(kind: kind, offset: offset, end: end ?? offset)
        survey.add(.warning) {
            let place = locator.place(of: offset)
            return Finding(severity: .warning, line: place.line, column: place.column, message: warning.message(in: text.bytes))
        }
    }

    mutating func warn(_ kind: Warning.Kind, about range: Range<Int>) { warn(kind, at: range.lowerBound, to: range.upperBound) }

    // MARK: HELP and TYPE

    private mutating func comment(_ parser: borrowing Parser) {
        if !parser.isCommentUTF8 { warn(.commentNotUTF8, at: parser.start) }
        let word = text.blanksEnd(parser.start) + 1
        guard text.holds("HELP", at: word) || text.holds("TYPE", at: word), Text.isBlank(text[word + 4]) else { return }
        if text[text.blanksEnd(word + 4)] != UInt8(ascii: "\n") { warn(.noBlankAfterHash, at: word) }
    }

    private mutating func help(_ parser: borrowing Parser) {
        warnOfName(parser)
        if let escape = unknownEscape(in: parser.value, known: "\\n") { warn(.unknownHelpEscape, at: escape) }
        let range = parser.name
        let hasText = !parser.value.isEmpty
        let (key, isOwn) = metaFamily(of: range)
        withFamily(key) { surveyor, family in
            if isOwn, family.hasHelp || (hasText && family.hasHelpText) {
                surveyor.warn(.secondHelp, about: range)
            } else if !isOwn, hasText, family.hasHelpText {
                surveyor.warn(.metaOfSample, about: range)
            }
            family.hasHelp = family.hasHelp || isOwn
            family.hasHelpText = family.hasHelpText || hasText
        }
        current = key
    }

    private mutating func type(_ parser: borrowing Parser) {
        warnOfName(parser)
        let range = parser.name
        let (key, isOwn) = metaFamily(of: range)
        let type = MetricType(text[parser.value])
        withFamily(key) { surveyor, family in
            if family.type != nil {
                surveyor.warn(isOwn ? .secondType : .metaOfSample, about: range)
            } else if family.hasSamples {
                surveyor.warn(.typeAfterSamples, about: range)
            }
            family.type = family.type ?? type
            if type == .histogram || type == .summary, let suffix = surveyor.suffix(of: range), suffix != .other {
                surveyor.warn(.familyNameWithSuffix, about: range)
            }
        }
        // Samples with names of their own may now belong to this family.
        lastName = 0..<0
        current = key
    }

    private mutating func warnOfName(_ parser: borrowing Parser) {
        if parser.isNameQuoted {
            warn(.quotedName, at: parser.name.lowerBound - 1)
        } else if parser.value.lowerBound > parser.name.upperBound, !Text.isBlank(text[parser.name.upperBound]) {
            warn(.nameEndsEarly, at: parser.name.upperBound)
        }
    }

    // MARK: Samples

    private mutating func sample(_ parser: borrowing Parser) {
        survey.countSample()
        warnOfSyntax(parser)
        if parser.isProxySeries {
            warn(.proxySeries, at: parser.name.lowerBound)
        }
        if !isLastName(parser.name) || current != lastFamily { enter(parser) }
        if let kind = oddName(parser, lastType), !familiesWithOddNames.contains(lastFamily) {
            familiesWithOddNames.insert(lastFamily)
            warn(kind, about: parser.name)
        }
        guard seriesSeen.count < Survey.maxSeries else { return }
        let isAfterBlank = parser.start < parser.name.lowerBound && !parser.isNameQuoted
        if !seriesSeen.insert(isAfterBlank ? parser.seriesHash : parser.seriesHash(withNameHash: lastNameHash)) {
            warn(.secondSample, about: parser.name)
        }
    }

    private func isLastName(_ name: Range<Int>) -> Bool {
        name.count == lastName.count && memcmp(text.base + name.lowerBound, text.base + lastName.lowerBound, name.count) == 0
    }

    /// Makes the sample's family the current one.
    private mutating func enter(_ parser: borrowing Parser) {
        if !isLastName(parser.name) {
            lastName = parser.name
            lastNameHash = hash(of: parser.name)
            lastFamily = family(of: parser.name, lastNameHash)
        }
        let key = lastFamily
        lastType = nil
        withFamily(key) { surveyor, family in
            if surveyor.current != key, family.hasSamples, !family.isInterleaved {
                family.isInterleaved = true
                surveyor.warn(.interleaved, about: parser.name)
            }
            family.hasSamples = true
            surveyor.lastType = family.type
        }
        current = key
    }

    /// Warns of what only Prometheus 3 reads: older versions, other readers or the description of the format refuse it.
    private mutating func warnOfSyntax(_ parser: borrowing Parser) {
        let name = parser.name
        if parser.isNameQuoted {
            warn(.quotedName, at: name.lowerBound - 1)
        } else {
            if name.lowerBound > parser.start {
                warn(.blankBeforeName, at: parser.start)
            }
            if name.upperBound == parser.value.lowerBound { warn(.noBlankBeforeValue, at: name.upperBound) }
        }
        for index in 0..<parser.labels.count {
            let label = parser.labels[index]
            if label.isQuoted(in: text) {
                warn(.quotedLabelName, at: label.name.lowerBound - 1)
            }
            if label.value.isEmpty, parser.labels.mayRepeat, repeats(label, in: parser) {
                warn(.repeatedEmptyLabel, about: label.name)
            }
            warnOfValue(label)
            // A comma is between two labels.
            let end = label.value.upperBound + 1
            if index + 1 < parser.labels.count {
                let next = parser.labels[index + 1].name.lowerBound
                if !text[end..<next].contains(UInt8(ascii: ",")) { warn(.noComma, at: next) }
            }
        }
        var end = parser.newline
        while Text.isBlank(text[end - 1]) { end -= 1 }
        if end < parser.newline { warn(.blankAtEnd, at: end) }
    }

    /// Whether another label of the sample has the same name. Only called if names may repeat. Samples with more than 64 labels are not
    /// checked.
    private func repeats(_ label: Label, in parser: borrowing Parser) -> Bool {
        guard parser.labels.count <= 64 else { return false }
        let name = NameBytes(text[label.name])
        var count = 0
        for index in 0..<parser.labels.count
        where NameBytes(text[parser.labels[index].name]) == name { count += 1 }
        return count > 1
    }

    private mutating func warnOfValue(_ label: Label) {
        // Nearly always the closing quote.
        guard text.quoteOrEscape(label.value.lowerBound) < label.value.upperBound else { return }
        if text[label.value].contains(UInt8(ascii: "\n")) {
            warn(.lineBreakInValue, at: label.value.lowerBound - 1)
        } else if let escape = unknownEscape(in: label.value, known: "\\\"n") {
            warn(.unknownEscape, at: escape)
        }
    }

    /// The first backslash that is followed by none of the bytes `known`.
    private func unknownEscape(in range: Range<Int>, known: StaticString) -> Int? {
        var index = range.lowerBound
        while index < range.upperBound {
            if text[index] == UInt8(ascii: "\\") {
                index += 1
                let isKnown = (0..<known.utf8CodeUnitCount).contains { known.utf8Start[$0] == text[index] }
                guard isKnown else { return index - 1 }
            }
            index += 1
        }
        return nil
    }

    // MARK: Families

    private enum Suffix: Equatable {
        case other
        case bucket
        case sum
        case count
        var length: Int {
            switch self {
            case .other: 0
            case .bucket: 7
            case .sum: 4
            case .count: 6
            }
        }
    }

    private func suffix(of name: Range<Int>) -> Suffix? {
        guard let last = text[name].last else { return nil }
        switch last {
        case UInt8(ascii: "t") where ends(name, "_bucket"): return .bucket
        case UInt8(ascii: "t") where ends(name, "_count"): return .count
        case UInt8(ascii: "m") where ends(name, "_sum"): return .sum
        default: return .other
        }
    }

    private func ends(_ name: Range<Int>, _ suffix: StaticString) -> Bool {
        name.count > suffix.utf8CodeUnitCount && text.holds(suffix, at: name.upperBound - suffix.utf8CodeUnitCount)
    }

    /// The family of a sample with this name; for a histogram or summary, by the name without its suffix.
    private func family(of name: Range<Int>, _ hash: UInt64) -> UInt64 {
        guard let suffix = suffix(of: name), suffix != .other else { return hash }
        let base = self.hash(of: name.lowerBound..<name.upperBound - suffix.length)
        return switch families[base]?.type {
        case .histogram: base
        case .summary where suffix != .bucket: base
        default: hash
        }
    }

    /// The family of a HELP or TYPE line. In Go's parser a name that did not occur before, and that a sample of an earlier histogram or
    /// summary may have, belongs to that one.
    private func metaFamily(of name: Range<Int>) -> (key: UInt64, isOwn: Bool) {
        let own = hash(of: name)
        guard families[own] == nil, families.count < Survey.maxFamilies else { return (own, true) }
        let key = family(of: name, own)
        return (key, key == own)
    }

    /// Why a sample does not fit into the family of its TYPE line.
    @inline(__always)
    private func oddName(_ parser: borrowing Parser, _ type: MetricType?) -> Warning.Kind? {
        guard type == .histogram || type == .summary else { return nil }
        let bound = label(type == .histogram ? "le" : "quantile", of: parser)
        if let bound, SampleValue.judge(text[bound.value]) != .valid { return .boundNotNumber }
        return switch (type, suffix(of: parser.name)) {
        case (.histogram, .bucket?) where bound == nil: .bucketWithoutLe
        case (.histogram, .other?): .histogramSampleWithoutSuffix
        case (.summary, .other?) where bound == nil: .summaryWithoutQuantile
        default: nil
        }
    }

    private func label(_ name: StaticString, of parser: borrowing Parser) -> Label? {
        for index in 0..<parser.labels.count {
            let label = parser.labels[index]
            if label.name.count == name.utf8CodeUnitCount, text.holds(name, at: label.name.lowerBound) { return label }
        }
        return nil
    }

    private mutating func withFamily(_ key: UInt64, _ body: (inout Surveyor, inout Family) -> Void) {
        guard var family = families[key] ?? (families.count < Survey.maxFamilies ? Family() : nil) else { return }
        body(&self, &family)
        families[key] = family
    }

    private func hash(of name: Range<Int>) -> UInt64 {
        NameBytes(text[name]).hash
    }
}
