import TestSupport
import Testing

private func lint(_ arguments: [String] = [], input: String? = nil, in folder: TemporaryFolder) async throws -> ProgramResult {
    try await run(ProxyProcess.executable, ["lint"] + arguments, input: input.map { Array($0.utf8) }, workingFolder: folder.path)
}

@Suite struct LintTellsWhatPrometheusWouldNotRead {
    @Test("errors and warnings are lines with file, line and column; errors exit with 1, warnings with 0")
    func findings() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("bad.prom", "# HELP a b\na 1\nbackup_seconds 12,5\n c 1\n")
            try folder.write("odd.prom", "a 1\na 2")
            try folder.write("good.prom", "# TYPE a gauge\na{b=\"größe\"} 1\n")
            let bad = try await lint(["bad.prom"], in: folder)
            #expect(bad.status == .exited(1) && bad.output == "")
            #expect(
                bad.errors == """
                    bad.prom:3:16: error: value "12,5" is not a number: write a decimal point, not a comma
                    bad.prom:4:1: warning: space or tab before the metric name: Prometheus 2 refuses it, and for Prometheus 3 it is part of the name

                    """)
            let odd = try await lint(["odd.prom"], in: folder)
            #expect(odd.succeeded)
            #expect(
                odd.errors == """
                    odd.prom:2:1: warning: series of "a" occurs twice: without timestamps of their own, Prometheus keeps the first sample
                    odd.prom:2:4: warning: missing newline at the end of the text

                    """)
            let good = try await lint(["good.prom"], in: folder)
            #expect(good.succeeded && good.errors == "" && good.output == "")
            // One bad file among several, and one that is not there, are enough; the others are checked nevertheless.
            let all = try await lint(["good.prom", "missing.prom", "odd.prom"], in: folder)
            #expect(all.status == .exited(1))
            #expect(all.errors.hasPrefix("error: cannot read missing.prom: ") && all.errors.contains("odd.prom:2:1: warning: "))
        }
    }

    @Test("standard input is called stdin", arguments: [[], ["-"]])
    func standardInput(arguments: [String]) async throws {
        try await withTemporaryFolder { folder in
            let result = try await lint(arguments, input: "a\n", in: folder)
            #expect(result.status == .exited(1) && result.errors == "stdin:1:2: error: unexpected end of line: expected a value\n")
            let empty = try await lint(arguments, input: "", in: folder)
            #expect(empty.succeeded && empty.errors == "")
        }
    }

    @Test("of many findings twenty are shown, and how many there are")
    func many() async throws {
        try await withTemporaryFolder { folder in
            let result = try await lint(input: String(repeating: "x\n", count: 50), in: folder)
            let lines = result.errors.split(separator: "\n")
            #expect(lines.count == 21 && lines.last == "stdin: 30 more findings are not shown")
        }
    }
}
