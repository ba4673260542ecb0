/// The format of a body that is clearly not metrics: HTML or JSON, as an endpoint answers for a wrong path.
public enum BodyShape: Equatable, Sendable {
    /// HTML or XML.
    case html
    /// A JSON object or array.
    case json

    /// Recognises the format; `nil` for a body that may be metrics. Reads only the first bytes.
    public init?(_ body: UnsafeRawBufferPointer) {
        var index = body.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        // Enough to reach the first word, and cheap for a body that has only blanks.
        let end = min(body.count, 4096)
        func skipSpace() {
            while index < end, [0x20, 0x09, 0x0A, 0x0D].contains(body[index]) { index += 1 }
        }
        func skip() -> UInt8? {
            guard index < end else { return nil }
            index += 1
            skipSpace()
            return index < end ? body[index] : nil
        }
        skipSpace()
        guard index < end else { return nil }
        switch body[index] {
        case UInt8(ascii: "<"):
            // Neither a metric's name nor a comment begins like this.
            index += 1
            guard index < end else { return nil }
            switch body[index] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "!"), UInt8(ascii: "?"):
                self = .html
            default: return nil
            }
        case UInt8(ascii: "["):
            guard let next = skip() else { return nil }
            switch next {
            case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "\""), UInt8(ascii: "-"), UInt8(ascii: "t"),
                UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                self = .json
            default: return nil
            }
        case UInt8(ascii: "{"):
            switch skip() {
            case UInt8(ascii: "}"): self = .json
            case UInt8(ascii: "\""):
                // A sample may also begin with {"name", but only JSON has a colon after the string.
                index += 1
                while index < end, body[index] != UInt8(ascii: "\"") { index += body[index] == UInt8(ascii: "\\") ? 2 : 1 }
                guard skip() == UInt8(ascii: ":") else { return nil }
                self = .json
            default: return nil
            }
        default: return nil
        }
    }
}
