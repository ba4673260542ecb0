import Foundation
import TestSupport
import Testing

@Test("a limit of open files that is too low is warned about at the start, and not again by reloads")
func aWarningIsNotRepeatedByReloads() async throws {
    try await withProxy(Configurations.scrape, wrapper: ["sh", "-c", "ulimit -n 600; exec \"$@\"", "sh"]) { proxy in
        for _ in 1...3 { try await proxy.reloading { proxy.program.send(signal: SIGHUP) } }
        let warnings = proxy.log.split(separator: "\n").filter { $0.contains("the limit of 600 open files is too low") }
        #expect(warnings.count == 1, "\(proxy.log)")
    }
}
