import CSimdjson
import CText

/// Text that is safe for a terminal, and the number of columns that it takes.
public struct PrintableText: Sendable {
    /// With the characters that are not `isSafeToPrint` written as `\u{1B}`.
    public let text: String
    /// East Asian wide characters and emoji take two, combining marks none.
    public let columns: Int

    /// Makes any text printable.
    /// - Parameter limit: the most characters of `raw` that are shown; `…` follows if it has more.
    public init(_ raw: String, limit: Int) {
        let beginning = raw.unicodeScalars.prefix(limit)
        let isWhole = beginning.endIndex == raw.unicodeScalars.endIndex
        self.init(isWhole ? raw : String(beginning) + "…")
    }

    /// Makes any text printable.
    public init(_ raw: String) {
        if raw.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) {
            text = raw
            columns = raw.utf8.count
            return
        }
        var text = ""
        var columns = 0
        for scalar in raw.unicodeScalars {
            if scalar.isSafeToPrint {
                text.unicodeScalars.append(scalar)
                columns += scalar.columns
            } else {
                let escape = "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
                text += escape
                columns += escape.utf8.count
            }
        }
        self.text = text
        self.columns = columns
    }
}

extension Unicode.Scalar {
    /// Whether it is not a control character, a line break, an invisible character or a mark that reorders text. With the last two a name
    /// could look like another one. It still can with the soft hyphen, the joiners and variation selectors, which count as safe.
    public var isSafeToPrint: Bool {
        // The joiners, which Arabic, Indian scripts and emoji need.
        if columnsOfLetter != nil || value == 0x200C || value == 0x200D { return true }
        switch properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: return false
        // Among the ignorable ones are all marks that set the direction of text.
        default: return !properties.isDefaultIgnorableCodePoint || properties.isVariationSelector
        }
    }

    /// The columns of a letter or sign of the blocks that names have most often: Latin, Greek, Cyrillic, Chinese, Korean. `nil` for any
    /// other character, because looking up its properties takes much longer. The soft hyphen is among the signs: it is visible.
    private var columnsOfLetter: Int? {
        switch value {
        case 0x20..<0x7F, 0xA0...0x2FF, 0x370...0x482, 0x48A...0x52F: 1
        case 0x4E00...0x9FFF, 0xAC00...0xD7A3: 2
        default: nil
        }
    }

    fileprivate var columns: Int {
        if let columnsOfLetter { return columnsOfLetter }
        switch properties.generalCategory {
        // Joiners and similar characters are not visible.
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        switch value {
        // Wide and fullwidth blocks of Unicode's EastAsianWidth (UAX #11), rounded to whole blocks.
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x4DBF, 0x4E00...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF,
            0xFE10...0xFE19, 0xFE30...0xFE6F, 0xFF01...0xFF60, 0xFFE0...0xFFE6, 0x17000...0x18DFF, 0x1AFF0...0x1B2FF,
            0x20000...0x3FFFD:
            return 2
        default:
            return properties.isEmojiPresentation ? 2 : 1
        }
    }
}

/// Why text from outside is refused.
enum TextFault: Error {
    case invalidUTF8
    case nulByte
}

extension UnsafeRawBufferPointer {
    /// Whether the bytes are UTF-8.
    var isUTF8: Bool { isEmpty || csimdjson_validate_utf8(assumingMemoryBound(to: UInt8.self).baseAddress, count) }

    /// What is wrong with the bytes as text; `nil` when nothing is.
    var textFault: TextFault? { fault(seen: ctext_look(assumingMemoryBound(to: UInt8.self).baseAddress, count)) }

    fileprivate func fault(seen: UInt32) -> TextFault? {
        if seen & UInt32(ctext_not_ascii) != 0, !isUTF8 { return .invalidUTF8 }
        return seen & UInt32(ctext_nul) != 0 ? .nulByte : nil
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Copies `text`, for which there must be room, and checks it in the same pass.
    /// - Returns: what is wrong with it; it is copied in any case.
    func copyText(from text: UnsafeRawBufferPointer) -> TextFault? {
        precondition(count >= text.count)
        let source = text.assumingMemoryBound(to: UInt8.self).baseAddress
        return text.fault(seen: ctext_copy(assumingMemoryBound(to: UInt8.self).baseAddress, source, text.count))
    }
}
