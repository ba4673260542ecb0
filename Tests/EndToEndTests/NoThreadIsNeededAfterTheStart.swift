import Foundation
import TestSupport
import Testing

@Test(
    "while the system grants no thread it receives, polls, reloads and stops, and a name that cannot be looked up says why",
    .enabled("the program can run without root's rights") { await Unprivileged.canRunTheProxy() })
func noThreadIsNeeded() async throws {
    let before = Configurations.scrape + Configurations.httpReceiver() + "[metrics]\nvalidate = \"off\"\n"
    // The limit holds for a user, and not for root.
    try await withProxy(before, wrapper: Unprivileged.wrapper) { folder in
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder.path)
    } _: { proxy in
        let limit = Unprivileged.wrapper + ["prlimit", "--pid", "\(proxy.program.pid)", "--nproc=1:1"]
        #expect(try await run(limit[0], Array(limit.dropFirst())).succeeded)
        let threads = try proxy.threads
        // Each of these is the work of a thread: a large push, a large body, checks, the state file.
        let text = String(repeating: "a 1\n", count: 100_000)
        let file = try proxy.folder.write("large", text)
        #expect(try await curl("http://\(proxy.pushes)/apps/large", ["-H", "Expect:", "-T", file]).status == 204)
        try await HTTPTarget.with(answer: { _ in [.respond(text)] }) { target in
            let address = "127.0.0.1:\(target.port)"
            try proxy.folder.write(
                "config.toml",
                Configurations.scrape + Configurations.httpReceiver("state_file = \"apps.state\"")
                    + Configurations.poll("http://\(address)/metrics", "http://localhost:\(target.port)/metrics"))
            try await wait(for: "the reload") { proxy.log.contains("configuration reloaded") }
            try await wait(for: "a poll") { try await curl("http://\(proxy.scrape)/metrics?app=external_poll:%20\(address)").body == text }
            try await wait(for: "the name") {
                proxy.log.contains("localhost: cannot start a thread: resource temporarily unavailable: raise TasksMax=")
            }
        }
        #expect(try proxy.threads == threads)
        proxy.program.send(signal: SIGTERM)
        let result = try await proxy.program.exit()
        #expect(result.status == .exited(0))
        #expect(result.errors.contains("info stopped"))
        #expect(proxy.folder.contains("apps.state"))
    }
}

extension ProxyProcess {
    fileprivate var threads: Set<String> {
        get throws { Set(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(program.pid)/task")) }
    }
}
