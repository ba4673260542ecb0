import NIOCore

/// `/apps` as JSON, with one app on each line, so that it can be read and searched without tools. The program's status follows.
enum AppsJSON {
    /// The array of apps.
    static func list(of entries: some Collection<AppEntry>) -> WrittenList {
        var list = WrittenList()
        var json = JSONWriter()
        json.raw("[")
        var isFirst = true
        for entry in entries {
            json.raw(isFirst ? "\n{" : ",\n{")
            isFirst = false
            write(entry, to: &json)
            json.raw("}")
            list.take(&json.buffer)
        }
        json.raw(isFirst ? "]" : "\n]")
        list.take(&json.buffer, isLast: true)
        return list
    }

    /// The whole object.
    static func document(_ list: WrittenList, status: DaemonStatus, isReady: Bool, at now: Timestamp) -> SharedPieces {
        var head = JSONWriter()
        head.raw("{\"time\": ")
        head.string(now.rfc3339)
        head.raw(", \"apps\": ")
        var tail = JSONWriter()
        write(status, isReady: isReady, to: &tail)
        tail.raw("}\n")
        return list.document(head: head.buffer, tail: tail.buffer)
    }

    /// The members of an app's object.
    static func write(_ entry: AppEntry, to json: inout JSONWriter) {
        json.raw("\"name\": ")
        json.string(entry.name.description)
        json.raw(", \"source\": ")
        json.string(entry.source.description)
        json.raw(", \"last_update\": ")
        json.string(entry.lastUpdate?.time.rfc3339)
        json.raw(", \"bytes\": ")
        json.number(entry.exposition.size)
        json.raw(", \"state\": ")
        json.string(entry.condition.rawValue)
        json.raw(", \"error\": ")
        json.string(entry.error)
    }

    private static func write(_ status: DaemonStatus, isReady: Bool, to json: inout JSONWriter) {
        json.raw(", \"listeners\": [")
        for (index, listener) in status.listeners.enumerated() {
            json.raw(index == 0 ? "\n" : ",\n")
            write(listener, to: &json)
        }
        json.raw(status.listeners.isEmpty ? "]" : "\n]")
        json.raw(", \"reload\": ")
        if let reload = status.lastReload {
            json.raw("{\"time\": ")
            json.string(reload.time.rfc3339)
            json.raw(", \"error\": ")
            json.string(reload.error)
            json.raw("}")
        } else {
            json.raw("null")
        }
        json.raw(isReady ? ", \"ready\": true" : ", \"ready\": false")
        json.raw(", \"version\": ")
        json.string(status.version)
        json.raw(", \"start_time\": ")
        json.string(status.startTime.rfc3339)
    }

    private static func write(_ listener: DaemonStatus.Listener, to json: inout JSONWriter) {
        json.raw("{\"name\": ")
        json.string(listener.name)
        json.raw(", \"kind\": ")
        json.string(listener.kind.rawValue)
        json.raw(", \"format\": ")
        json.string(listener.format?.rawValue)
        json.raw(", \"tls\": ")
        json.string(listener.tls)
        json.raw(", \"open_connections\": ")
        json.number(listener.openConnections)
        json.raw(", \"certificate_end\": ")
        json.string(listener.certificateEnd?.rfc3339)
        json.raw("}")
    }
}
