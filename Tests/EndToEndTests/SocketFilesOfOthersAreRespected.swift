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

@Test(
    "without /proc a socket on which another program may listen is left alone",
    .enabled("a network and a /proc of its own") { await PrivateMachine.isThere() })
func aSocketIsLeftAloneWithoutProc() async throws {
    let script = """
        \(Tools.python) -c 'import signal, socket
        s = socket.socket(socket.AF_UNIX)
        s.bind("receiver.sock")
        s.listen()
        signal.pause()' &
        until [ -S receiver.sock ]; do sleep 0.05; done
        start config.toml
        mount -t tmpfs tmpfs /proc
        mv new.toml config.toml
        kill -HUP $proxy
        until grep 'configuration not reloaded' proxy.log; do sleep 0.05; done
        umount /proc
        grep 'because /proc is missing' proxy.log
        [ -S receiver.sock ]
        """
    try await withTemporaryFolder { folder in
        let scrape = Configurations.scrape.replacing("127.0.0.1:0", with: "127.0.0.1:6555")
        try folder.write("config.toml", scrape)
        try folder.write("new.toml", scrape + Configurations.receivers())
        let result = try await PrivateMachine.run(script, folder: folder)
        let log = try String(contentsOfFile: folder.path("proxy.log"), encoding: .utf8)
        #expect(result.succeeded, "\(result.errors)\(log)")
    }
}

@Test("with too few descriptors the reason is reported, and nothing that is there is taken for changed or damaged")
func tooFewDescriptors() async throws {
    let config = Configurations.scrape + Configurations.receivers("state_file = \"apps.state\"")
    try await withTemporaryFolder { folder in
        try folder.write("config.toml", config)
        // At some of these limits the last descriptor is taken just before the socket's file, or the state file, is opened.
        for limit in [1000] + Array(12...32) {
            // A crash of SwiftNIO, which has no answer to a missing descriptor of its own, needs no backtrace.
            try await withProgram(
                "prlimit", ["--nofile=\(limit):\(limit)", ProxyProcess.executable, "-c", "config.toml"],
                environment: ["SWIFT_BACKTRACE": "enable=no"], workingFolder: folder.path
            ) { proxy in
                try await wait(for: "it to listen, or to end") { proxy.exitStatus != nil || proxy.errors.contains("kind=unix") }
                proxy.send(signal: SIGTERM)
                let ended = try await proxy.exit()
                #expect(!ended.errors.contains("was changed"), "\(limit): \(ended.errors)")
                #expect(folder.contains("apps.state") && !folder.contains("apps.state.broken"), "\(limit): \(ended.errors)")
            }
        }
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
