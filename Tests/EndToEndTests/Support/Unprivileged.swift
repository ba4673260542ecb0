import Foundation
import TestSupport

/// Runs the program as a user who may not read everything: as `nobody` when the tests run as root.
enum Unprivileged {
    static func runProxy(_ arguments: [String], workingFolder: String? = nil) async throws -> ProgramResult {
        guard getuid() == 0 else { return try await run(ProxyProcess.executable, arguments, workingFolder: workingFolder) }
        let asNobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", ProxyProcess.executable]
        return try await run("setpriv", asNobody + arguments, workingFolder: workingFolder)
    }

    /// Not so when the checkout lies in a folder of root's alone.
    static func canRunTheProxy() async -> Bool {
        (try? await runProxy(["--version"], workingFolder: "/"))?.succeeded ?? false
    }
}
