import Testing

@testable import Proxy

@Suite("Config problems")
struct ConfigProblemTests {
    @Test("of a hundred errors all are shown; of more, the first hundred and the number of the others", arguments: [100, 101, 1999])
    func manyErrors(count: Int) throws {
        // Misspelt, so that there is a suggestion.
        let keys = (0..<count).map { "max_connection\($0) = 1" }.joined(separator: "\n")
        let thrown = #expect(throws: ConfigProblems.self) { try loadedConfig("[exporter]\n" + keys) }
        let error = try #require(thrown)
        let lines = error.description.split(separator: "\n")
        #expect(lines.count == min(count, 101))
        #expect(lines.first == "config.toml:2:1: error: unknown key exporter.max_connection0; did you mean max_connections?")
        if count > 100 { #expect(lines.last == "config.toml:102:1: error: … and \(count - 100) more") }
        // To find one takes time.
        #expect(error.problems.count { $0.message.contains("did you mean") } == min(count, 1000))
    }

    @Test("errors and warnings are counted apart")
    func bothKinds() {
        let all = (1...250).flatMap { line in
            [ConfigProblem.Severity.error, .warning].map { severity in
                ConfigProblem(severity: severity, file: "f", position: ConfigPosition(line: line, column: 1), key: "k", message: "m")
            }
        }
        let shown = all.limited
        #expect(shown.count == 202)
        #expect(Array(shown.prefix(200)) == Array(all.prefix(200)))
        #expect(shown.suffix(2).map(\.description) == ["f:101:1: error: … and 150 more", "f:101:1: warning: … and 150 more"])
        #expect(shown.suffix(2).map(\.key) == [nil, nil])
    }
}
