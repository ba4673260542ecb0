import Proxy

/// Any text gives a configuration, or problems at places that are in the text.
enum ConfigFuzzer {
    static func run(_ text: [UInt8]) {
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).count
        func check(_ problems: [ConfigProblem]) {
            for problem in problems {
                precondition(!problem.message.isEmpty && !problem.message.contains { $0.isNewline }, problem.message)
                guard let position = problem.position else { continue }
                precondition((1...lines).contains(position.line) && position.column >= 1, "\(problem)")
            }
        }
        do throws(ConfigProblems) {
            let (loaded, problems, _) = try ConfigDecoder(file: "config.toml", folder: "/etc").examine(FileReading(bytes: text))
            check(problems)
            check(loaded.warnings)
        } catch {
            precondition(error.problems.holdError)
            check(error.problems)
        }
    }
}
