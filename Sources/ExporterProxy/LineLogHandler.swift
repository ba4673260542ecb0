import Glibc
import Logging
import Services
import Proxy

/// Formats each event as one line: `2026-11-23T12:00:00.123Z info listening address=127.0.0.1:6555`, or the same as a JSON object.
/// Text from outside is escaped, so that an event stays one line and cannot imitate another one.
struct LineLogHandler: LogHandler {
    var metadata = Logger.Metadata()
    var logLevel: Logger.Level

    private let style: LogStyle
    private let writer: LogWriter

    init(style: LogStyle, level: Logger.Level, writer: LogWriter) {
        self.style = style
        self.logLevel = level
        self.writer = writer
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let own = event.metadata { all.merge(own) { $1 } }
        writer.write(LineLogHandler.line(style, event.level, event.message.description, all))
    }

    /// One event as a whole line with its newline.
    static func line(_ style: LogStyle, _ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata = [:]) -> String {
        let pairs = metadata.sorted { $0.key < $1.key }.map { ($0.key, text(of: $0.value)) }
        let time = time()
        let prefix = style.prefix(of: level)
        switch style.format {
        case .text:
            var line = "\(prefix)\(time) \(level.rawValue) \(PrintableText(message).text)"
            for (key, value) in pairs { line += " \(key)=\(quotedIfNeeded(value))" }
            return line + "\n"
        case .json:
            var line = "\(prefix){\"time\":\"\(time)\",\"level\":\"\(level.rawValue)\",\"message\":\(JSONWriter.printable(message))"
            for (key, value) in pairs { line += ",\(JSONWriter.printable(key)):\(JSONWriter.printable(value))" }
            return line + "}\n"
        }
    }

    /// RFC 3339, UTC, milliseconds.
    private static func time() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let seconds = Timestamp(seconds: Int64(now.tv_sec)).rfc3339.dropLast()
        return "\(seconds).\(String(1000 + now.tv_nsec / 1_000_000).dropFirst())Z"
    }

    private static func text(of value: Logger.Metadata.Value) -> String {
        switch value {
        case .string(let text): text
        case .stringConvertible(let value): value.description
        case .array(let values): values.map { text(of: $0) }.joined(separator: ",")
        case .dictionary(let values): values.sorted { $0.key < $1.key }.map { "\($0.key)=\(text(of: $0.value))" }.joined(separator: ",")
        }
    }

    private static func quotedIfNeeded(_ text: String) -> String {
        let plain = text.unicodeScalars.allSatisfy { $0 != " " && $0 != "\"" && $0 != "=" && $0.isSafeToPrint }
        guard !plain || text.isEmpty else { return text }
        return JSONWriter.printable(text)
    }
}
