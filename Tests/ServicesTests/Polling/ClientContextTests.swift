import TLS
import Testing

@testable import Services

@Suite("a client's TLS context")
struct ClientContextTests {
    @Test("is made once, for everyone who asks")
    func once() throws {
        let client = ClientContext(TLSClientSettings())
        #expect(try client.get() === client.get())
    }

    @Test("says each time what is wrong with its settings")
    func wrong() {
        let client = ClientContext(TLSClientSettings(trustRoots: .certificates(Array("no PEM".utf8))))
        for _ in 0..<2 {
            #expect {
                try client.get()
            } throws: { error in
                if case TLSError.invalidTrustRoots? = error as? TLSError { true } else { false }
            }
        }
    }
}
