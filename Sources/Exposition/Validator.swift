import CText

/// Decides whether Prometheus 3 would read a text.
///
/// A text is valid when a Prometheus 3 that scrapes only this text as text format 0.0.4 succeeds. A text with a NUL byte is not valid
/// either, because Prometheus would stop there without an error, nor is one with more than `maxBlankLines` blank lines in a row, because
/// very many of them end the process of Prometheus before 3.14. All functions take linear time.
public struct Validator: Sendable {
    /// The most blank lines in a row that a valid text has. Prometheus before 3.14 takes memory of its stack for each one.
    public static let maxBlankLines = 10_000

    /// Whether the text has nothing but blank lines: lines of spaces and tabs. An empty text has no others either.
    public static func isBlank(_ text: UnsafeRawBufferPointer) -> Bool {
        text.allSatisfy { $0 == UInt8(ascii: "\n") || Text.isBlank($0) }
    }

    /// Whether every text is known to be UTF-8 without NUL, as stored metrics are.
    public var isKnownUTF8: Bool
    /// Whether series named `exporter_proxy_…`, which would hide the proxy's own, are errors; otherwise they are warnings.
    public var refusesProxySeries: Bool

    /// - Parameters:
    ///   - isKnownUTF8: whether every text is known to be UTF-8 without NUL, so that this need not be checked again.
    ///   - refusesProxySeries: whether series named `exporter_proxy_…` are errors.
    public init(isKnownUTF8: Bool = false, refusesProxySeries: Bool = false) {
        self.isKnownUTF8 = isKnownUTF8
        self.refusesProxySeries = refusesProxySeries
    }

    /// The first error in the text; `nil` when it is valid. A missing final newline is not an error.
    public func firstError(in text: UnsafeRawBufferPointer) -> Finding? {
        withTerminated(text) { text in
            var fault: Fault?
            do throws(Fault) {
                var parser = try parser(for: text)
                while try next(&parser) != .end {}
            } catch {
                fault = error
            }
            return fault?.finding(in: text)
        }
    }

    /// A parser of the text, which ends in a newline.
    /// - Throws: for a NUL byte.
    func parser(for text: UnsafeRawBufferPointer) throws(Fault) -> Parser {
        guard !isKnownUTF8 else { return Parser(Text(text), isUTF8: true) }
        let seen = ctext_look(text.assumingMemoryBound(to: UInt8.self).baseAddress, text.count)
        if seen & UInt32(ctext_nul) != 0, let nul = text.firstIndex(of: 0) { throw Fault(.nulByte, at: nul) }
        let isUTF8 = seen & UInt32(ctext_not_ascii) == 0 || String(validating: text, as: UTF8.self) != nil
        return Parser(Text(text), isUTF8: isUTF8)
    }

    /// The parser's next entry; refuses the proxy's own series if they are errors.
    @inline(__always)
    func next(_ parser: inout Parser) throws(Fault) -> Parser.Entry {
        let entry = try parser.next()
        if refusesProxySeries, entry == .sample, parser.isProxySeries {
            throw Fault(.proxySeries, at: parser.name.lowerBound, to: parser.name.upperBound)
        }
        return entry
    }

    /// Calls `body` with the text, or with a copy that has the missing final newline.
    func withTerminated<Result>(_ text: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        guard let last = text.last, last != UInt8(ascii: "\n") else { return body(text) }
        var copy = [UInt8]()
        copy.reserveCapacity(text.count + 1)
        copy.append(contentsOf: text)
        copy.append(UInt8(ascii: "\n"))
        return copy.withUnsafeBytes(body)
    }
}

extension Fault {
    /// The fault as a finding; counts lines from the start of the text.
    func finding(in text: UnsafeRawBufferPointer) -> Finding {
        var locator = Locator(text)
        let place = locator.place(of: offset)
        return Finding(severity: .error, line: place.line, column: place.column, message: message(in: text))
    }
}

extension Parser {
    /// The prefix of the names of the proxy's own series.
    static let proxyPrefix: StaticString = "exporter_proxy_"

    /// Whether the last sample's name is one of the proxy's own.
    var isProxySeries: Bool {
        name.count >= Parser.proxyPrefix.utf8CodeUnitCount && text.holds(Parser.proxyPrefix, at: name.lowerBound)
    }
}
