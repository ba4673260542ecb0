import Foundation
import TestSupport

/// A network and a `/run` of a test's own, so that the fixed ports and paths of a shipped configuration are free.
enum PrivateMachine {
    /// Runs a shell script there; what it starts ends with it. `$checkout`, `$program` and `start CONFIG` are there for it.
    static func run(_ script: String, folder: TemporaryFolder) async throws -> ProgramResult {
        let prelude = """
            set -eu
            mount -t tmpfs tmpfs /run
            # A new network's loopback interface is down: SIOCSIFFLAGS with IFF_UP.
            \(Tools.python) -c 'import fcntl, socket, struct
            fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))'
            checkout='\(checkout)'
            program='\(ProxyProcess.executable)'
            nc() { '\(Tools.netcat)' "$@"; }
            curl() { command curl -q --silent --show-error --max-time 30 --noproxy '*' "$@"; }
            start() {
                "$program" --config "$1" 2>proxy.log &
                proxy=$!
                until curl --output /dev/null http://localhost:6555/-/ready 2>/dev/null; do
                    kill -0 $proxy 2>/dev/null || { cat proxy.log >&2; exit 1; }
                    sleep 0.05
                done
            }

            """
        return try await TestSupport.run("unshare", options + ["sh", "-c", prelude + script], workingFolder: folder.path)
    }

    /// Not so in most containers.
    static func isThere() async -> Bool {
        (try? await TestSupport.run("unshare", options + ["mount", "-t", "tmpfs", "tmpfs", "/run"]))?.succeeded ?? false
    }

    /// With a `/proc` of its own: the Swift runtime reads there what its threads do, and stops when it finds another's.
    private static let options = asRoot + ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]

    /// The option of `unshare` that gives this user root's rights in the new namespaces. Root has them, also where the kernel allows no
    /// namespace of users, as in a chroot.
    static let asRoot: [String] = getuid() == 0 ? [] : ["--map-root-user"]
}
