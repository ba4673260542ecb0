import Testing

@testable import Proxy

/// No message, log line or description holds a secret, wherever in the file it stands and whatever is wrong with it.
@Suite("Secrets")
struct SecretsTests {
    private static let secret = "s3cr3tTok3n"

    /// Every key, with one value of each kind of mistake; `…` stands for the secret.
    static let texts: [String] = {
        // Each key is given a URL with a password. The name of a target is left out: an app's name is public.
        let everywhere = ConfigSchema.leafKeys.filter { $0 != "poll_external.targets[].name" }.map { key in
            "\(line(key, "\"http://user:…@example.org/\""))\n"
        }
        // Each key that holds a secret, with a value of every type.
        let keys = [
            "poll_external.targets[].basic_auth.password", "poll_external.targets[].basic_auth.username",
            "poll_external.targets[].authorization.credentials", "poll_external.targets[].authorization.type",
            "poll_external.targets[].headers", "exporter.basic_auth_users", "receiver.basic_auth_users",
        ]
        let values = [
            "\"…\"", "\"Bearer …\"", "\"user:…\"", "\"…\\u0000\"", "[\"…\"]", "{ … = 1 }", "{ \"Bearer …\" = \"X-Token\" }",
            "{ \"…: x\" = \"a\" }", "{ prometheus = \"…\" }", "{ prometheus = [\"…\"] }", "{ X-Token = [\"…\"] }", "{ X-Token = \"…\\n\" }",
            "{ Authorization = \"…\" }", "{ Authorization = \"Bearer …\" }", "{ \"Host …\" = \"…\" }", "{ \"user:…\" = \"x\" }",
            "…", "t…", "f…", "i…", "2…", "1979-05-27T…", "\"…", "'''…", "\"\"\"…\n", "= …",
        ]
        let mistakes = keys.flatMap { key in values.map { line(key, $0) } }
        // Secrets in places that have no such key.
        let places = [
            "\"Bearer …\" = 1", "[\"user:…@host\"]", "[exporter]\n\"http://u:…@h\" = 2", "\"…: …\" = true",
            "[exporter]\n[exporter.\"Bearer …\"]\na = 1",
        ]
        return (everywhere + mistakes + places).map { $0.replacing("…", with: secret) }
    }()

    /// Secrets without quotes that the parser takes for something else than text.
    static let bareSecrets = [
        "98765432109876543210", "-98765432109876543210", "98_765_432_109_876_543_210", "0xdeadbeefcafebabe0123456789", "0b2718281828",
        "0o31415926535", "0X98765432", "1234e56789", "9e9999", "98765.43210.98765", "trUst-No-1", "falSe-frieNd", "inforMaTion", "nanO7391",
        "8765-99-31", "8765-43-21T98:76:54", "87:65:43", "8765-12-31T23:59:59+98:76", "_98765", "98765__43210", "0987654321", ".98765",
        "+98765e", "\"9876\\5432\"", "'9876'5432", "[9876 5432]", "{ 9876 5432 }", "98765432109876543210 = 1",
        String(repeating: "98765", count: 40), "0x" + String(repeating: "98765", count: 40),
    ]

    @Test("no message about a secret without quotes shows four characters of it", arguments: bareSecrets)
    func bare(secret: String) {
        let keys = [
            "poll_external.targets[].basic_auth.password", "poll_external.targets[].authorization.credentials",
            "poll_external.targets[].headers", "exporter.basic_auth_users", "receiver.basic_auth_users",
        ]
        let values = ["…", "[…]", "{ a = … }", "{ … = \"a\" }", "{ \"…\" = 1, \"…\" = 1 }", "\"a\" …", "… # …"]
        let texts = keys.flatMap { key in values.map { Self.line(key, $0) } }
        let repeated = [
            "… = 1\n… = 1", "\"…\" = 1\n\"…\" = 1", "[…]\n[…]", "[\"…\"]\n[\"…\"]", "[exporter]\n\"…\".a = 1\n[exporter.\"…\"]",
        ]
        let characters = Array(secret)
        for text in (texts + repeated).map({ $0.replacing("…", with: secret) }) {
            for problem in Self.problems(in: text) {
                for start in characters.indices.dropLast(3) {
                    let part = String(characters[start...(start + 3)])
                    #expect(!problem.message.contains(part) && problem.key?.contains(part) != true, "\(text): \(problem)")
                }
            }
        }
    }

    private static func problems(in text: String) -> [ConfigProblem] {
        do throws(ConfigProblems) {
            return try ConfigDecoder(file: "config.toml", folder: "").examine(FileReading(bytes: Array(text.utf8))).problems
        } catch {
            return error.problems
        }
    }

    /// `key = value` below the header of its table.
    private static func line(_ key: String, _ value: String) -> String {
        var parts = key.split(separator: ".").map(String.init)
        let name = parts.removeLast()
        var text = "[poll_external]\npoll_other_scrape_endpoints = true\n"
        if key.hasPrefix("poll_external.targets[]") {
            text += "[[poll_external.targets]]\n"
            if name != "url" { text += "url = \"http://example.org/metrics\"\n" }
        } else if key.hasPrefix("poll_external.") {
            text = "[poll_external]\n"
        } else {
            text = ""
        }
        let table = parts.joined(separator: ".").replacing("[]", with: "")
        if table != "poll_external", table != "poll_external.targets" { text += "[\(table)]\n" }
        return text + "\(name.replacing("[]", with: "")) = \(value)"
    }

    @Test("no message and no description holds a secret", arguments: texts)
    func hidden(text: String) {
        let decoder = ConfigDecoder(file: "config.toml", folder: "/etc") { _ in .success(FileReading(bytes: Array(Self.secret.utf8))) }
        var shown: [String] = []
        do throws(ConfigProblems) {
            let (loaded, problems, _) = try decoder.examine(FileReading(bytes: Array(text.utf8), isReadableByOthers: true))
            shown += problems.flatMap { [$0.description, $0.key ?? ""] }
            shown += ["\(loaded)", String(reflecting: loaded), "\(loaded.config)", String(reflecting: loaded.config)]
            var dumped = ""
            dump(loaded, to: &dumped)
            dump(loaded.config, to: &dumped)
            shown.append(dumped)
            // The words for the change, in both directions.
            let nothing = LoadedConfig(config: Config(), origin: ConfigOrigin(file: "config.toml"))
            shown += ReloadPlan(from: nothing, to: loaded).changes + ReloadPlan(from: loaded, to: nothing).changes
        } catch {
            shown += error.problems.flatMap { [$0.description, $0.key ?? ""] }
        }
        for line in shown { #expect(!line.contains(Self.secret), "\(text)") }
    }

    @Test("a secret in a file that every user may read is warned about, at its place")
    func readableByOthers() throws {
        let hash = "$2y$10$" + String(repeating: "a", count: 53)
        let texts = [
            "[exporter.basic_auth_users]\n\na = \"\(hash)\"\n": 3,
            "[[poll_external.targets]]\nurl = \"http://a/m\"\nbasic_auth = { username = \"a\", password = \"b\" }": 3,
            "[[poll_external.targets]]\nurl = \"http://a/m\"\nauthorization = { credentials = \"b\" }": 3,
            "[[poll_external.targets]]\nurl = \"http://a/m\"\nheaders = { Authorization = \"Bearer b\" }": 3,
            "[[poll_external.targets]]\nurl = \"http://a:b@a/m\"": 2,
            "[poll_external]\nother_scrape_endpoints = [\"http://a/m\", \"http://a:b@b/m\"]": 2,
            "[poll_external]\nproxy_url = \"http://a:b@proxy\"": 2,
            "[[poll_external.targets]]\nurl = \"http://a/m\"\nproxy_url = \"http://a:b@proxy\"": 3,
        ]
        for (text, line) in texts {
            for isReadable in [true, false] {
                let decoder = ConfigDecoder(file: "config.toml", folder: "")
                let loaded = try decoder.decode(FileReading(bytes: Array(text.utf8), isReadableByOthers: isReadable))
                let warnings = loaded.warnings.filter { $0.message.contains("chmod o-r config.toml") }
                #expect(warnings.map(\.position?.line) == (isReadable ? [line] : []), "\(text)")
            }
        }
        let decoder = ConfigDecoder(file: "config.toml", folder: "")
        let without = "[[poll_external.targets]]\nurl = \"http://a/m\"\nbasic_auth = { username = \"a\", password_file = \"b\" }"
        #expect(try decoder.decode(FileReading(bytes: Array(without.utf8), isReadableByOthers: true)).warnings.isEmpty)
    }
}
