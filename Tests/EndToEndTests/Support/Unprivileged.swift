import Foundation
import TestSupport

/// Runs the program as a user who may not read everything: as `nobody` when the tests run as root.
enum Unprivileged {
    /// The program that becomes another one of that user, with its arguments.
    static var wrapper: [String] { getuid() == 0 ? ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] : [] }

    static func runProxy(_ arguments: [String], workingFolder: String? = nil) async throws -> ProgramResult {
        let command = wrapper + [ProxyProcess.executable] + arguments
        return try await run(command[0], Array(command.dropFirst()), workingFolder: workingFolder)
    }

    /// Not so when the checkout lies in a folder of root's alone.
    static func canRunTheProxy() async -> Bool {
        (try? await runProxy(["--version"], workingFolder: "/"))?.succeeded ?? false
    }
}
