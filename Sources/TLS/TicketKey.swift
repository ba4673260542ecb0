import COpenSSL

/// One key for session tickets: its name in the ticket, the key of the encryption, the key of the authentication. Immutable; wiped when
/// nobody holds it any more.
final class TicketKey: @unchecked Sendable {
    // Safe to share: `memory` is filled in `init` alone, read afterwards, and freed by the last owner.

    static let nameLength = 16
    private static let keyLength = 32
    private static let length = nameLength + 2 * keyLength

    /// When it was made, by the clock of its owner.
    let born: Int64
    private let memory: UnsafeMutablePointer<UInt8>

    /// - Returns: `nil` when there is no randomness to be had.
    init?(born: Int64) {
        self.born = born
        memory = .allocate(capacity: Self.length)
        memory.initialize(repeating: 0, count: Self.length)
        guard RAND_bytes(memory, Int32(Self.nameLength)) == 1,
            RAND_priv_bytes(memory + Self.nameLength, Int32(2 * Self.keyLength)) == 1
        else { return nil }
    }

    deinit {
        OPENSSL_cleanse(memory, Self.length)
        memory.deallocate()
    }

    func hasName(_ name: UnsafeRawBufferPointer) -> Bool {
        UnsafeRawBufferPointer(start: memory, count: Self.nameLength).elementsEqual(name)
    }

    func copyName(to target: UnsafeMutablePointer<UInt8>) {
        target.update(from: memory, count: Self.nameLength)
    }

    func prepare(
        _ encryption: OpaquePointer, _ mac: OpaquePointer, _ cipher: OpaquePointer?, iv: UnsafePointer<UInt8>, isNew: Bool
    ) -> Bool {
        let key = memory + Self.nameLength
        return copenssl_init_hmac_sha256(mac, key + Self.keyLength, Self.keyLength) == 1
            && EVP_CipherInit_ex(encryption, cipher, nil, key, iv, isNew ? 1 : 0) == 1
    }
}
