import Foundation
import TestSupport
import Testing

/// What the argument parser knows of the program (`--experimental-dump-help`).
private struct Command: Decodable {
    struct Argument: Decodable {
        struct Name: Decodable {
            var kind: String
            var name: String
            var text: String { (kind == "short" ? "-" : "--") + name }
        }
        var kind: String
        var names: [Name]?
        var valueName: String?
        var shouldDisplay: Bool
    }
    var commandName: String
    var arguments: [Argument]?
    var subcommands: [Command]?

    /// Each way to write an option, and the names of positional arguments.
    var words: [String] {
        (arguments ?? []).filter(\.shouldDisplay).flatMap { argument in
            argument.names.map { $0.map(\.text) } ?? [argument.valueName?.uppercased() ?? ""]
        }
    }

    /// Those that are not the program itself, and not the help that the parser adds.
    var own: [Command] { (subcommands ?? []).filter { $0.commandName != "help" } }
}

private func program() async throws -> Command {
    struct Dump: Decodable { var command: Command }
    let result = try await run(ProxyProcess.executable, ["--experimental-dump-help"])
    return try JSONDecoder().decode(Dump.self, from: Data(result.outputBytes)).command
}

private func file(_ name: String) throws -> String { try String(contentsOfFile: "\(checkout)/\(name)", encoding: .utf8) }

@Suite struct EveryCommandAndOptionIsDocumented {
    @Test("docs/commands.md has a section for each command, and in it each option and argument")
    func commandsPage() async throws {
        let page = try file("docs/commands.md")
        let commands = try await program().own
        #expect(commands.map(\.commandName) == ["serve", "check", "push", "lint", "prometheus-config"])
        for command in commands {
            guard let start = page.range(of: "\n## \(command.commandName)\n") else {
                Issue.record("no section for \(command.commandName)")
                continue
            }
            let rest = page[start.upperBound...]
            let section = rest[..<(rest.range(of: "\n## ")?.lowerBound ?? rest.endIndex)]
            for word in command.words where !["--version", "-h", "--help"].contains(word) {
                #expect(section.contains(word), "\(command.commandName) \(word)")
            }
            #expect(page.contains("](#\(command.commandName))"))
        }
        for word in ["--version", "--help", "-h"] { #expect(page.contains("`\(word)`"), "\(word)") }
    }

    @Test("docs/commands.md names no option that is not there")
    func noInventedOption() async throws {
        let known = Set(try await program().own.flatMap(\.words))
        let foreign = ["--generate-completion-script"]
        for match in try file("docs/commands.md").matches(of: /--[a-z][a-z-]+/) {
            let option = String(match.output)
            #expect(known.contains(option) || foreign.contains(option), "\(option)")
        }
    }

    @Test("the manual page is what script/manual makes of this program")
    func manualPageIsCurrent() async throws {
        let made = try await run("\(checkout)/script/manual", [ProxyProcess.executable])
        #expect(made.succeeded, "\(made.errors)")
        let isCurrent = try made.output == file("docs/man/exporter-proxy.1")
        #expect(isCurrent, "run script/manual .build/debug/exporter-proxy > docs/man/exporter-proxy.1")
    }

    @Test("the manual page names every command and option, and mandoc reads it")
    func manualPageIsComplete() async throws {
        let page = "\(checkout)/docs/man/exporter-proxy.1"
        let lint = try await run("mandoc", ["-T", "lint", "-W", "error", page])
        #expect(lint.succeeded, "\(lint.output)")
        let shown = try await run("mandoc", ["-T", "ascii", "-O", "width=200", page])
        // Bold and underlined letters are overstruck.
        let text = shown.output.replacing(/.\x08/, with: "")
        for command in try await program().own {
            #expect(text.contains("   \(command.commandName)\n"), "\(command.commandName)")
            for word in command.words { #expect(text.contains(word), "\(command.commandName) \(word)") }
        }
        for section in ["NAME", "SYNOPSIS", "SIGNALS", "EXIT STATUS", "ENVIRONMENT", "FILES"] {
            #expect(text.contains("\n\(section)\n"), "\(section)")
        }
    }

    @Test("bash completes commands, options, values and files")
    func bashCompletes() async throws {
        let script = """
            set -eu
            "$0" --generate-completion-script bash > completion
            bash -n completion
            . ./completion
            complete -p exporter-proxy >/dev/null
            function=$(complete -p exporter-proxy | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
            reply() {
                COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMPREPLY=()
                # A completion function may end with any status.
                $function exporter-proxy "${@: -1}" "${@: -2:1}" || true
                echo "${COMPREPLY[*]-}"
            }
            reply exporter-proxy ''
            reply exporter-proxy push --
            reply exporter-proxy push --format ''
            reply exporter-proxy serve --log-level ''
            """
        try await withTemporaryFolder { folder in
            let result = try await run("bash", ["-c", script, ProxyProcess.executable], workingFolder: folder.path)
            #expect(result.succeeded, "\(result.errors)")
            let lines = result.output.split(separator: "\n", omittingEmptySubsequences: false).map { Set($0.split(separator: " ")) }
            try #require(lines.count >= 4, "\(result.output)")
            #expect(lines[0].isSuperset(of: ["serve", "check", "push", "lint", "prometheus-config"]), "\(result.output)")
            #expect(lines[1].isSuperset(of: ["--app", "--to", "--timeout"]), "\(result.output)")
            #expect(lines[2] == ["json", "capnp"], "\(result.output)")
            #expect(lines[3].isSuperset(of: ["trace", "critical"]), "\(result.output)")
        }
    }

    @Test("the parser makes completions for zsh and fish too", arguments: ["zsh", "fish"])
    func otherShells(shell: String) async throws {
        let result = try await run(ProxyProcess.executable, ["--generate-completion-script", shell])
        #expect(result.succeeded)
        for word in ["prometheus-config", "log-format", "server-name"] { #expect(result.output.contains(word), "\(word)") }
    }
}
