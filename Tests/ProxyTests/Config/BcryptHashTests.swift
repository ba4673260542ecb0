import Testing

@testable import Proxy

struct BcryptHashTests {
    private func hint(_ text: String) -> String? {
        do {
            _ = try BcryptHash(parsing: text)
            return nil
        } catch {
            return error.hint ?? "no hint"
        }
    }

    private let good = "$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"

    @Test("bcrypt's three spellings are one", arguments: ["2a", "2b", "2y"])
    func versions(_ version: String) throws {
        let hash = try BcryptHash(parsing: good.replacing("2y", with: version))
        #expect(hash.matches(Array("openesame".utf8)))
        #expect(!hash.matches(Array("openesam".utf8)))
        #expect(!hash.matches([]))
    }

    @Test("a NUL byte does not end the password early")
    func nul() throws {
        let hash = try BcryptHash(parsing: good)
        #expect(!hash.matches(Array("openesame\0".utf8)))
        #expect(!hash.matches(Array("openesame\0more".utf8)))
        #expect(!hash.matches([0]))
    }

    @Test("the first 72 bytes of a password count, however long it is")
    func longPasswords() throws {
        let hash = try BcryptHash(parsing: "$2y$04$abcdefghijklmnopqrstuuogRL5VQwGjcLu2sTFXkuj.Qf1F2dCtK")
        for count in [72, 73, 511, 512, 5000] { #expect(hash.matches(Array(repeating: UInt8(ascii: "c"), count: count)), "\(count)") }
        #expect(!hash.matches(Array(repeating: UInt8(ascii: "c"), count: 71)))
        #expect(!hash.matches(Array(repeating: UInt8(ascii: "c"), count: 600) + [0]))
        #expect(!hash.matches(Array(repeating: UInt8(ascii: "d"), count: 512)))
    }

    @Test("the unused bits of the salt's last letter do not count")
    func unusedBits() throws {
        let hash = try BcryptHash(parsing: good.replacing("stuuul", with: "stuvul"))
        #expect(hash.matches(Array("openesame".utf8)))
        #expect(!hash.matches(Array("openesam".utf8)))
        // A used bit.
        #expect(try !BcryptHash(parsing: good.replacing("stuuul", with: "stueul")).matches(Array("openesame".utf8)))
    }

    @Test("what is no bcrypt is refused with a reason")
    func malformed() {
        #expect(hint(good) == nil)
        #expect(hint("") == "it is not a hash")
        #expect(hint("secret") == "it is not a hash")
        #expect(hint("$6$salt$hash") == "only bcrypt is supported")
        #expect(hint("$2x$" + good.dropFirst(4)) == "only bcrypt is supported")
        #expect(hint("$apr1$salt$hash") == "only bcrypt is supported")
        #expect(hint(String(good.dropLast())) == "it is damaged or cut short: a bcrypt hash has 60 characters")
        #expect(hint(good + "a") == "it is damaged or cut short: a bcrypt hash has 60 characters")
        #expect(hint(good.dropLast() + "!") == "it is damaged or cut short: a bcrypt hash has 60 characters")
        #expect(hint(good.replacing("$04$", with: "$4$.")) == "it is damaged or cut short: a bcrypt hash has 60 characters")
    }

    @Test("a cost is within reason")
    func cost() {
        #expect(hint(good.replacing("$04$", with: "$03$")) == "its cost is not a number from 04 to 31")
        #expect(hint(good.replacing("$04$", with: "$32$")) == "its cost is not a number from 04 to 31")
        #expect(hint(good.replacing("$04$", with: "$+9$")) == "its cost is not a number from 04 to 31")
        #expect(hint(good.replacing("$04$", with: "$20$")) == nil)
        #expect(hint(good.replacing("$04$", with: "$21$"))?.contains("its cost of 21") == true)
    }
}
