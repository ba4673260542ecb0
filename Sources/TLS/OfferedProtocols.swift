/// The application protocols of one side, in order of preference (ALPN, RFC 7301).
final class OfferedProtocols: Sendable {
    /// Each name behind its length, one after another.
    let wireFormat: [UInt8]
    private let names: [[UInt8]]

    /// - Throws: `openSSLFailed` for a name that the protocol cannot carry.
    init(_ protocols: [String]) throws(TLSError) {
        names = protocols.map { Array($0.utf8) }
        guard names.allSatisfy({ (1...255).contains($0.count) }) else { throw .openSSLFailed("an ALPN name is 1 to 255 bytes long") }
        wireFormat = names.flatMap { [UInt8($0.count)] + $0 }
    }

    var isEmpty: Bool {
        names.isEmpty
    }

    /// Picks the first of our protocols that the client offers too.
    /// - Parameter clientList: the client's list in wire format.
    /// - Returns: where the name lies in `clientList`; `nil` without a common protocol.
    func choose(from clientList: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
        for name in names {
            var position = 0
            while position < clientList.count {
                let start = position + 1
                let end = start + Int(clientList[position])
                guard end <= clientList.count else { break }
                if clientList[start..<end].elementsEqual(name) { return start..<end }
                position = end
            }
        }
        return nil
    }
}
