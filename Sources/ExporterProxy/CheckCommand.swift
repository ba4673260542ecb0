import ArgumentParser
import Glibc
import Proxy
import Services

/// Reports the problems of a configuration, without running it.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validate the configuration and every file, user and group that it names.",
        discussion: """
            Also foresees what a start would fail at: an address that cannot be bound, a folder in which no socket can be made. Starts nothing, so it may run beside a running exporter-proxy. Every problem is a line on standard error, PATH:LINE:COLUMN: error: MESSAGE. Exits with 1 when there is one; warnings alone leave 0.
            """)

    @OptionGroup var config: ConfigOptions

    @Option(
        help: ArgumentHelp(
            "The user that the program will run as: files, folders and ports are tried with that user's rights. Needs root.",
            valueName: "name"))
    var user: String?

    func run() throws {
        let file = try config.file()
        if let user {
            do throws(UserError) {
                try become(user)
            } catch {
                printError("error: \(error)")
                throw ExitCode(1)
            }
        }
        let problems = ConfigLoader(file: file).check()
        for problem in problems { printError("\(problem)") }
        guard !problems.holdError else { throw ExitCode(1) }
        print("\(file): OK")
    }

    private struct UserError: Error, CustomStringConvertible {
        var description: String
    }

    /// Takes the rights of another user. This cannot be undone; the process only checks and ends.
    private func become(_ name: String) throws(UserError) {
        errno = 0
        guard let entry = getpwnam(name) else { throw UserError(description: "--user: unknown user \(name)") }
        let (user, group) = (entry.pointee.pw_uid, entry.pointee.pw_gid)
        guard user != geteuid() else { return }
        guard geteuid() == 0 else { throw UserError(description: "--user \(name) needs the rights of root") }
        guard initgroups(name, group) == 0, setgid(group) == 0, setuid(user) == 0 else {
            throw UserError(description: "--user \(name): cannot take the rights of this user (error \(errno))")
        }
    }
}
