import Foundation
import TestSupport
import Testing

private let config = Configurations.scrape + Configurations.receivers()

@Test("a stale socket file is replaced; owner, group and mode are as configured")
func aStaleSocketIsReplaced() async throws {
    let settings = "unix_socket_mode = \"0600\"\nunix_socket_user = \"\(getuid())\"\nunix_socket_group = \"\(getgid())\""
    let leaveStale = """
        import socket
        socket.socket(socket.AF_UNIX).bind("receiver.sock")
        """
    try await withProxy(
        Configurations.scrape + Configurations.receivers(settings),
        prepare: { folder in
            let left = try await run(Tools.python, ["-c", leaveStale], workingFolder: folder.path)
            #expect(left.succeeded, "\(left.errors)")
            #expect(folder.contains("receiver.sock"))
        }
    ) { proxy in
        #expect(try await pushOverUnixSocket(#"{"a": "a 1"}"#, to: proxy) == "")
        var status = stat()
        #expect(lstat(proxy.folder.path("receiver.sock"), &status) == 0)
        #expect(status.st_mode & S_IFMT == S_IFSOCK)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(status.st_uid == getuid())
        #expect(status.st_gid == getgid())
        // Nothing of the making is left behind.
        let left = try FileManager.default.contentsOfDirectory(atPath: proxy.folder.path).filter { $0.contains("sock") }
        #expect(left == ["receiver.sock"])
    }
}

@Test("a socket on which another proxy listens is an error, and that one goes on")
func aLiveSocketIsAnError() async throws {
    try await withProxy(config) { proxy in
        let second = try await runProxy(config.replacing("receiver.sock", with: proxy.folder.path("receiver.sock")))
        #expect(second.status == .exited(1))
        #expect(second.errors.contains("receiver_unix_socket"), "\(second.errors)")
        #expect(try await pushOverUnixSocket(#"{"a": "a 1"}"#, to: proxy) == "")
    }
}

@Test("a regular file at the socket's path is an error, and stays as it is")
func aRegularFileIsAnError() async throws {
    try await withTemporaryFolder { other in
        let file = try other.write("precious", "do not lose me")
        let result = try await runProxy(config.replacing("receiver.sock", with: file))
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("receiver_unix_socket"), "\(result.errors)")
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "do not lose me")
    }
}

@Test("the kernel shows the socket by its path, and a file that vanishes comes back by itself and by a reload, without losing a connection")
func aLostSocketFileComesBack() async throws {
    try await withProxy(config) { proxy in
        let path = proxy.folder.path("receiver.sock")
        let names = try String(contentsOfFile: "/proc/net/unix", encoding: .utf8)
        #expect(names.contains(" \(path)\n"))
        for round in 1...2 {
            #expect(unlink(path) == 0)
            if round == 2 { proxy.program.send(signal: SIGHUP) }
            try await wait(for: "the socket's file", within: .seconds(20)) { proxy.folder.contains("receiver.sock") }
            #expect(try await pushOverUnixSocket(#"{"a": "a \#(round)"}"#, to: proxy) == "")
            let metrics = try await curl("http://\(proxy.scrape)/metrics?app=a").body
            #expect(metrics == "a \(round)\n")
        }
    }
}
