import NIOCore
import Testing

@testable import Proxy

@Suite("ExpositionWriter")
struct ExpositionWriterTests {
    private func written(_ write: (inout ExpositionWriter) -> Void) -> String {
        // No room to begin with: it grows as it is written to.
        var writer = ExpositionWriter(capacity: 0)
        write(&writer)
        return String(buffer: writer.buffer)
    }

    @Test("a sample is its name, its labels, its value", arguments: [0, 1, 9, 10, 1_234_567_890, -1, .max, .min])
    func sample(value: Int) {
        let text = written {
            $0.sample(.apps, value)
            $0.sample(.connections, labels: #"{listener="/run/ü"}"#, value)
        }
        #expect(text == "exporter_proxy_apps \(value)\nexporter_proxy_connections{listener=\"/run/ü\"} \(value)\n")
    }

    @Test(
        "seconds are exact to the nanosecond, with no more digits than are needed",
        arguments: [
            (0, "0"), (1, "0.000000001"), (1_000_000_000, "1"), (1_500_000_000, "1.5"), (10_000_000_010, "10.00000001"),
            (-1_500_000_000, "-1.5"), (-1, "-0.000000001"), (.max, "9223372036.854775807"), (.min, "-9223372036.854775808"),
        ] as [(Int64, String)])
    func seconds(nanoseconds: Int64, text: String) {
        #expect(written { $0.sample(.startTime, nanoseconds: nanoseconds) } == "exporter_proxy_process_start_time_seconds \(text)\n")
    }

    @Test("a family begins with its help and its type")
    func family() {
        let text = written { $0.single(.apps, 3) }
        #expect(
            text.hasPrefix("# HELP exporter_proxy_apps ") && text.hasSuffix("\n# TYPE exporter_proxy_apps gauge\nexporter_proxy_apps 3\n"))
    }

    @Test("label values are escaped as the format wants it, and nothing else")
    func labels() {
        #expect(ExpositionWriter.labels(("a", "x\\\"\ny"), ("b", "ü\t")) == #"{a="x\\\"\ny",b="ü\#t"}"#)
    }
}
