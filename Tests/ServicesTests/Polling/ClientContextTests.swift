import TLS
import Testing

@testable import Services

@Suite("a client's TLS context")
struct ClientContextTests {
    @Test("is made at the first call, once")
    func once() throws {
        let client = ClientContext(TLSClientSettings(trustRoots: .system(SystemAuthorities())))
        #expect(client.made == nil)
        let context = try client.get()
        #expect(client.made === context)
        #expect(try client.get() === context)
    }

    @Test("says each time what is wrong with its settings")
    func wrong() {
        let client = ClientContext(TLSClientSettings(trustRoots: .certificates(Array("no PEM".utf8))))
        for _ in 0..<2 {
            #expect {
                try client.get()
            } throws: { error in
                if case TLSSettingsError.invalidTrustRoots? = error as? TLSSettingsError { true } else { false }
            }
        }
    }
}
