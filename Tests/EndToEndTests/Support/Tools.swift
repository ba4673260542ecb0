import Foundation
import TestSupport

/// The programs that `script/setup --tests` provides.
enum Tools {
    static let netcat = find("nc.openbsd") ?? "nc"
    static let python = "/usr/bin/python3"
    /// Has pycapnp.
    static let clientsPython = "\(checkout)/clients/.venv/bin/python"
    /// Has tlslite-ng.
    static let testsPython = "\(checkout)/Tests/.venv/bin/python"
    static let prometheus = find("prometheus") ?? "prometheus"
    static let chromium = find("chromium") ?? "chromium"
    static let testssl = find("testssl") ?? "testssl"
    static let pushgateway = find("prometheus-pushgateway") ?? "prometheus-pushgateway"
    static let promtool = find("promtool") ?? "promtool"
    /// Exporters of Debian packages; `nil` where they are missing.
    static let blackboxExporter = find("prometheus-blackbox-exporter")
    static let nodeExporter = find("prometheus-node-exporter")
    static let processExporter = find("prometheus-process-exporter")

    /// Part of systemd's package; `nil` where that is missing.
    static let socketActivate = find("systemd-socket-activate")

    private static func find(_ name: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let unpacked = ["tools", "exporters"].map { "\(checkout)/.build/\($0)/usr/bin" }
        let folders = path.split(separator: ":").map(String.init) + unpacked
        return folders.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }
}

/// A file of `clients/`.
func client(_ name: String) throws -> [UInt8] {
    try [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(checkout)/clients/\(name)")))
}
