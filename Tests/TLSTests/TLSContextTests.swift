import TestSupport
import Testing

@testable import TLS

struct TLSContextTests {
    private func serverError(_ change: (inout TLSServerSettings) -> Void) -> TLSSettingsError? {
        var settings = Contexts.serverSettings()
        change(&settings)
        do throws(TLSSettingsError) {
            _ = try TLSContext(server: settings)
            return nil
        } catch {
            return error
        }
    }

    private func clientError(_ change: (inout TLSClientSettings) -> Void) -> TLSSettingsError? {
        var settings = Contexts.clientSettings()
        change(&settings)
        do throws(TLSSettingsError) {
            _ = try TLSContext(client: settings)
            return nil
        } catch {
            return error
        }
    }

    @Test("the leaf's subject, names and dates are known")
    func facts() throws {
        let context = try Contexts.server(Contexts.ca.serverCertificate(names: ["a.example", "::1"], commonName: "a, \"b\""))
        let certificate = try #require(context.certificate)
        #expect(certificate.subject == "CN=a\\, \\\"b\\\"")
        #expect(certificate.names == ["a.example", "::1"])
        #expect(certificate.notAfter - certificate.notBefore == 61 * 86400)
        #expect(Contexts.client.certificate == nil)
    }

    @Test("an expired certificate can be loaded")
    func expired() throws {
        let context = try Contexts.server(Contexts.ca.serverCertificate(validity: .expired))
        #expect(try #require(context.certificate).notAfter > 0)
    }

    @Test("a key of another certificate is refused")
    func mismatch() throws {
        let other = try Contexts.ca.serverCertificate()
        #expect(serverError { $0.privateKey = Array(other.privateKeyPEM.utf8) } == .certificateDoesNotMatchKey)
        let rsa = try Contexts.ca.serverCertificate(key: .rsa)
        #expect(serverError { $0.privateKey = Array(rsa.privateKeyPEM.utf8) } == .certificateDoesNotMatchKey)
    }

    @Test("a chain in the wrong order is named")
    func order() throws {
        let certificate = try Contexts.ca.intermediate().serverCertificate()
        let intermediate = certificate.chainPEM.dropFirst(certificate.certificatePEM.count)
        let error = serverError {
            $0.certificateChain = Array((intermediate + certificate.certificatePEM).utf8)
            $0.privateKey = Array(certificate.privateKeyPEM.utf8)
        }
        #expect(error == .invalidCertificate("the one that belongs to the key is number 2 in the file: it must come first"))
    }

    @Test("an encrypted key needs its password, and does not ask for it on the terminal")
    func encryptedKey() {
        func error(_ password: String?) -> TLSSettingsError? {
            serverError {
                $0.privateKey = Array(Contexts.serverCertificate.encryptedPrivateKeyPEM.utf8)
                $0.privateKeyPassword = password.map { Array($0.utf8) }
            }
        }
        #expect(error(nil) == .privateKeyNeedsPassword)
        #expect(error("secret") == nil)
        #expect(error("secret\n") == nil)
        #expect(error("secret\r\n") == nil)
        #expect(error("wrong") == .wrongPrivateKeyPassword("it does not open the key"))
        #expect(error("secret ") == .wrongPrivateKeyPassword("it does not open the key"))
        #expect(error("\n") == .wrongPrivateKeyPassword("it is empty"))
        #expect(error(String(repeating: "a", count: 1025)) == .wrongPrivateKeyPassword("it is longer than 1024 bytes"))
        #expect(serverError { $0.privateKeyPassword = Array("of no use".utf8) } == nil)
    }

    @Test("for a key encrypted with a cipher of OpenSSL's legacy provider, the error names the cipher and how to encrypt it again")
    func legacyKey() throws {
        // In the traditional form with DES, in PKCS #8 with MD5 and DES, with RC2, and with DES.
        for (pem, cipher) in LegacyKeys.all {
            for password in [nil, "secret", "wrong"] {
                let error = serverError {
                    $0.privateKey = Array(pem.utf8)
                    $0.privateKeyPassword = password.map { Array($0.utf8) }
                }
                guard case .invalidPrivateKey(let reason) = error else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
                #expect(
                    reason.hasPrefix("it is encrypted with \(cipher), which is not supported; encrypt it with AES: openssl pkcs8 -topk8"))
            }
        }
    }

    @Test("a weak key is refused with its size")
    func weakKey() throws {
        let weak = try Contexts.ca.serverCertificate(key: .rsa, rsaBits: 1024)
        let error = serverError {
            $0.certificateChain = Array(weak.chainPEM.utf8)
            $0.privateKey = Array(weak.privateKeyPEM.utf8)
        }
        #expect(error == .invalidCertificate("its key of 1024 bits is too weak: RSA needs at least 2048 bits, ECDSA 224"))
    }

    @Test("a broken chain is noticed")
    func brokenLink() throws {
        let certificate = try Contexts.ca.intermediate().serverCertificate()
        #expect(try Contexts.server(certificate).brokenLink == nil)
        #expect(try Contexts.server { $0.certificateChain += Array(Contexts.otherCA.certificatePEM.utf8) }.brokenLink == 1)
        #expect(try Contexts.server { $0.certificateChain += Array(Contexts.ca.certificatePEM.utf8) }.chain.count == 2)
    }

    @Test("empty files and files of another kind have errors of their own")
    func garbage() {
        #expect(serverError { $0.certificateChain = [] } == .invalidCertificate("it is empty"))
        #expect(serverError { $0.privateKey = [] } == .invalidPrivateKey("it is empty"))
        #expect(clientError { $0.trustRoots = .certificates([]) } == .invalidTrustRoots("it is empty"))
        let words = Array("hello\n".utf8)
        #expect(serverError { $0.certificateChain = words } == .invalidCertificate("it holds no PEM certificate"))
        #expect(serverError { $0.privateKey = words } == .invalidPrivateKey("it holds no PEM private key"))
        #expect(clientError { $0.trustRoots = .certificates(words) } == .invalidTrustRoots("it holds no PEM certificate"))
        let der: [UInt8] = [0x30, 0x82, 0x01, 0x00, 0x00]
        #expect(serverError { $0.certificateChain = der } == .invalidCertificate("it is in DER form: PEM is needed"))
        #expect(serverError { $0.privateKey = der } == .invalidPrivateKey("it is in DER form: PEM is needed"))
        // As long as an Ed25519 key.
        let short = [0x30, 0x2e] + [UInt8](repeating: 4, count: 0x2e)
        #expect(serverError { $0.privateKey = short } == .invalidPrivateKey("it is in DER form: PEM is needed"))
        #expect(serverError { $0.privateKey = short + [4] } == .invalidPrivateKey("it holds no PEM private key"))
    }

    @Test("a client's authorities must be certificates, also if it verifies nothing")
    func unusedAuthorities() {
        func error(_ authorities: String) -> TLSSettingsError? {
            clientError {
                $0.verifiesPeer = false
                $0.trustRoots = .certificates(Array(authorities.utf8))
            }
        }
        #expect(error(Contexts.ca.certificatePEM) == nil)
        #expect(error("") == .invalidTrustRoots("it is empty"))
        #expect(error("hello") == .invalidTrustRoots("it holds no PEM certificate"))
        #expect(
            error(Contexts.serverCertificate.privateKeyPEM)
                == .invalidTrustRoots("it holds a private key and no certificate: were the two swapped?"))
    }

    @Test("swapped files are recognised")
    func swapped() {
        let certificate = Array(Contexts.serverCertificate.certificatePEM.utf8)
        let key = Array(Contexts.serverCertificate.privateKeyPEM.utf8)
        #expect(
            serverError { $0.certificateChain = key }
                == .invalidCertificate("it holds a private key and no certificate: were the two swapped?"))
        #expect(
            serverError { $0.privateKey = certificate }
                == .invalidPrivateKey("it holds a certificate and no private key: were the two swapped?"))
    }

    @Test("one file may hold certificate and key, in any order")
    func combined() {
        let both = Array((Contexts.serverCertificate.privateKeyPEM + Contexts.serverCertificate.chainPEM).utf8)
        #expect(
            serverError {
                $0.certificateChain = both
                $0.privateKey = both
            } == nil)
    }

    @Test("damaged blocks are named")
    func damaged() throws {
        let whole = Contexts.serverCertificate.certificatePEM
        let cut = Array(whole.prefix(whole.count / 2).utf8)
        #expect(try #require(serverError { $0.certificateChain = cut }).description.contains("PEM block 1 is damaged"))
        let second = Array((whole + String(whole.prefix(whole.count / 2))).utf8)
        #expect(try #require(serverError { $0.certificateChain = second }).description.contains("PEM block 2 is damaged"))
        let notDER = Array("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8)
        #expect(try #require(serverError { $0.certificateChain = notDER }).description.contains("certificate 1 is damaged"))
        let badKey = Array("-----BEGIN \("PRIVATE") KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".utf8)
        #expect(try #require(serverError { $0.privateKey = badKey }).description.contains("PRIVATE KEY block is damaged"))
    }

    @Test("a client needs certificate and key together")
    func halfClientIdentity() {
        #expect(
            clientError { $0.certificateChain = Array(Contexts.serverCertificate.chainPEM.utf8) }
                == .invalidPrivateKey("the certificate has no private key beside it"))
        #expect(
            clientError { $0.privateKey = Array(Contexts.serverCertificate.privateKeyPEM.utf8) }
                == .invalidCertificate("the private key has no certificate beside it"))
    }

    @Test("versions in the wrong order are refused")
    func versions() {
        #expect(
            serverError {
                $0.minVersion = .tls13
                $0.maxVersion = .tls12
            } == .minVersionAboveMaxVersion)
        #expect(
            serverError {
                $0.minVersion = .tls13
                $0.maxVersion = .tls13
            } == nil)
    }
}
