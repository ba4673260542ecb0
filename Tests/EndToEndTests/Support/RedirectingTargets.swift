import TestSupport

/// Servers whose answers lead elsewhere, as `redirecting_targets.py` says, while a test runs.
struct RedirectingTargets {
    /// The port of the one that speaks HTTPS and insists on a client certificate.
    let home: String
    /// The port of the one that speaks plain HTTP.
    let plain: String
    /// What they have told: a line of ports, then one for each request.
    let output: () -> String
}

/// - Parameter folder: in which new certificates are made.
func withRedirectingTargets(in folder: TemporaryFolder, _ body: (RedirectingTargets) async throws -> Void) async throws {
    try await ProxyProcess.makeCertificates(in: folder)
    try await withProgram(
        Tools.python, ["\(checkout)/Tests/EndToEndTests/Support/redirecting_targets.py", folder.path("certs")], workingFolder: folder.path
    ) { servers in
        let output = { String(decoding: servers.outputBytes, as: UTF8.self) }
        let ports = try await wait(for: "the ports of the targets") {
            output().contains("\n") ? output().split(separator: "\n").first?.split(separator: " ").map(String.init) : nil
        }
        try await body(RedirectingTargets(home: ports[0], plain: ports[2], output: output))
    }
}
