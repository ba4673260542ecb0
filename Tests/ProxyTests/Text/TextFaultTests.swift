import Testing

@testable import Proxy

@Suite("Text from outside")
struct TextFaultTests {
    /// Around the 32 and 64 bytes that are looked at together, and the rest of each.
    static let sizes = [1, 2, 31, 32, 33, 63, 64, 65, 95, 96, 127, 128, 129, 1000]

    private func fault(in bytes: [UInt8]) -> TextFault? { bytes.withUnsafeBytes { $0.textFault } }

    /// The fault that is told with the copy, which must hold the bytes and reach no further.
    private func faultOfCopy(_ bytes: [UInt8]) -> TextFault? {
        var copy = [UInt8](repeating: 0xAA, count: bytes.count + 64)
        let fault = bytes.withUnsafeBytes { bytes in copy.withUnsafeMutableBytes { $0.copyText(from: bytes) } }
        #expect(copy == bytes + [UInt8](repeating: 0xAA, count: 64))
        return fault
    }

    @Test("a NUL is found at every place, and the copy is the same", arguments: sizes)
    func nul(size: Int) {
        let text = (0..<size).map { UInt8($0 % 127 + 1) }
        #expect(fault(in: text) == nil)
        #expect(faultOfCopy(text) == nil)
        for place in 0..<size {
            var bytes = text
            bytes[place] = 0
            #expect(fault(in: bytes) == .nulByte, "\(place)")
            #expect(faultOfCopy(bytes) == .nulByte, "\(place)")
        }
    }

    @Test("a byte that is no UTF-8 is found at every place; it counts for more than a NUL", arguments: sizes)
    func invalid(size: Int) {
        for place in 0..<size {
            var bytes = [UInt8](repeating: UInt8(ascii: "x"), count: size)
            bytes[place] = 0xFF
            if place > 0 { bytes[0] = 0 }
            #expect(fault(in: bytes) == .invalidUTF8, "\(place)")
            #expect(faultOfCopy(bytes) == .invalidUTF8, "\(place)")
        }
    }

    @Test("what is not ASCII is no fault, wherever it stands", arguments: sizes)
    func unicode(size: Int) {
        for place in 0..<size {
            let before = String(repeating: "x", count: place)
            let after = String(repeating: "y", count: size - 1 - place)
            #expect(fault(in: Array("\(before)é\(after)".utf8)) == nil, "\(place)")
            #expect(fault(in: Array("\(before)é\(after)\0".utf8)) == .nulByte, "\(place)")
        }
    }

    @Test("nothing has no fault")
    func nothing() {
        #expect(fault(in: []) == nil)
        #expect(faultOfCopy([]) == nil)
        #expect(UnsafeRawBufferPointer(start: nil, count: 0).textFault == nil)
    }

    @Test("it is seen wherever the bytes begin")
    func unaligned() {
        for begin in 0..<64 {
            var bytes = [UInt8](repeating: UInt8(ascii: "x"), count: 300)
            #expect(fault(in: Array(bytes[begin...])) == nil)
            bytes[begin + 200] = 0
            bytes.withUnsafeBytes { #expect(UnsafeRawBufferPointer(rebasing: $0[begin...]).textFault == .nulByte) }
            bytes.withUnsafeBytes { #expect(UnsafeRawBufferPointer(rebasing: $0[begin..<(begin + 200)]).textFault == nil) }
        }
    }
}
