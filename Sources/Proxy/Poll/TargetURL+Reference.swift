extension TargetURL {
    /// Resolves a reference against this URL (RFC 3986 §5.2), to `http` and `https` only; a fragment, user and password are dropped.
    ///
    /// For a Unix target, a path stays on its socket, and so does `http://localhost`, because that is the `Host` of its requests.
    func resolving(_ reference: String) throws(PollFailure) -> TargetURL {
        let text = try TargetURL.escaped(reference)
        let withoutFragment = text.prefix { $0 != UInt8(ascii: "#") }

        if let (scheme, rest) = TargetURL.splitScheme(withoutFragment) {
            guard scheme == "http" || scheme == "https" else { throw .invalidRedirect("scheme \(scheme) is not supported") }
            guard rest.starts(with: "//".utf8) else { throw .invalidRedirect("\(scheme): without a host") }
            return try resolving(authorityAndPath: rest.dropFirst(2), isHTTPS: scheme == "https")
        }
        if withoutFragment.starts(with: "//".utf8) {
            return try resolving(authorityAndPath: withoutFragment.dropFirst(2), isHTTPS: origin.isHTTPS)
        }

        let (path, query) = TargetURL.splitQuery(withoutFragment)
        let base = TargetURL.splitQuery(Array(pathAndQuery.utf8)[...])
        if path.isEmpty {
            return TargetURL(origin: origin, path: base.path, query: query ?? base.query)
        }
        guard path.first != UInt8(ascii: "/") else {
            return TargetURL(origin: origin, path: TargetURL.removingDotSegments(path), query: query)
        }
        // RFC 3986 §5.2.3: everything up to the last slash of the base, then the reference.
        let folder = base.path[..<((base.path.lastIndex(of: UInt8(ascii: "/")) ?? base.path.startIndex - 1) + 1)]
        return TargetURL(origin: origin, path: TargetURL.removingDotSegments((Array(folder) + path)[...]), query: query)
    }

    private init(origin: Origin, path: ArraySlice<UInt8>, query: ArraySlice<UInt8>?) {
        var target = path.isEmpty ? "/" : String(decoding: path, as: UTF8.self)
        if let query { target += "?" + String(decoding: query, as: UTF8.self) }
        self.init(origin: origin, pathAndQuery: target)
    }

    private func resolving(authorityAndPath text: ArraySlice<UInt8>, isHTTPS: Bool) throws(PollFailure) -> TargetURL {
        let end = text.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? text.endIndex
        let (path, query) = TargetURL.splitQuery(text[end...])
        let (host, port) = try TargetURL.parseAuthority(text[..<end])
        let newOrigin: Origin
        if case .unix = origin, host == "localhost", !isHTTPS, port == nil || port == 80 {
            newOrigin = origin
        } else {
            newOrigin = isHTTPS ? .https(host: host, port: port ?? 443) : .http(host: host, port: port ?? 80)
        }
        return TargetURL(origin: newOrigin, path: TargetURL.removingDotSegments(path), query: query)
    }

    /// The bytes of a reference with everything outside of visible ASCII percent-encoded.
    private static func escaped(_ reference: String) throws(PollFailure) -> ArraySlice<UInt8> {
        let digits = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        for byte in reference.utf8 {
            switch byte {
            case 0x21...0x7E: result.append(byte)
            case 0x20, 0x80...: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
            default: throw .invalidRedirect("location has control characters")
            }
        }
        return result[...]
    }

    /// The scheme in lower case, and what follows its colon; `nil` for a relative reference.
    private static func splitScheme(_ text: ArraySlice<UInt8>) -> (String, ArraySlice<UInt8>)? {
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")), let first = text.first, first.isLetter else { return nil }
        let scheme = text[..<colon]
        guard scheme.allSatisfy({ $0.isLetter || $0.isDigit || "+-.".utf8.contains($0) }) else { return nil }
        return (String(decoding: scheme, as: UTF8.self).lowercased(), text[(colon + 1)...])
    }

    private static func splitQuery(_ text: ArraySlice<UInt8>) -> (path: ArraySlice<UInt8>, query: ArraySlice<UInt8>?) {
        guard let mark = text.firstIndex(of: UInt8(ascii: "?")) else { return (text, nil) }
        return (text[..<mark], text[(mark + 1)...])
    }

    private static func parseAuthority(_ text: ArraySlice<UInt8>) throws(PollFailure) -> (host: String, port: UInt16?) {
        let hostAndPort = text.lastIndex(of: UInt8(ascii: "@")).map { text[($0 + 1)...] } ?? text
        let host: ArraySlice<UInt8>
        let rest: ArraySlice<UInt8>
        if hostAndPort.first == UInt8(ascii: "[") {
            guard let bracket = hostAndPort.firstIndex(of: UInt8(ascii: "]")) else { throw .invalidRedirect("invalid host") }
            host = hostAndPort[(hostAndPort.startIndex + 1)..<bracket]
            rest = hostAndPort[(bracket + 1)...]
            guard host.contains(UInt8(ascii: ":")), host.allSatisfy({ $0.isHexDigit || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") })
            else { throw .invalidRedirect("invalid host") }
        } else {
            let colon = hostAndPort.firstIndex(of: UInt8(ascii: ":")) ?? hostAndPort.endIndex
            host = hostAndPort[..<colon]
            rest = hostAndPort[colon...]
            guard !host.isEmpty, host.count <= 253, host.allSatisfy({ $0.isLetter || $0.isDigit || "-._~".utf8.contains($0) })
            else { throw .invalidRedirect("invalid host") }
        }
        let name = String(decoding: host, as: UTF8.self).lowercased()
        guard !rest.isEmpty else { return (name, nil) }
        let digits = rest.dropFirst()
        guard rest.first == UInt8(ascii: ":"), digits.allSatisfy(\.isDigit) else { throw .invalidRedirect("invalid port") }
        guard !digits.isEmpty else { return (name, nil) }
        guard let port = UInt16(String(decoding: digits, as: UTF8.self)), port != 0 else { throw .invalidRedirect("invalid port") }
        return (name, port)
    }

    /// RFC 3986 §5.2.4, for a path that is empty or begins with a slash.
    private static func removingDotSegments(_ path: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var output: [ArraySlice<UInt8>] = []
        var endsInSlash = false
        for segment in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).dropFirst() {
            endsInSlash = false
            if segment.elementsEqual(".".utf8) {
                endsInSlash = true
            } else if segment.elementsEqual("..".utf8) {
                _ = output.popLast()
                endsInSlash = true
            } else {
                output.append(segment)
            }
        }
        if endsInSlash { output.append([]) }
        return output.reduce(into: []) { $0 += [UInt8(ascii: "/")] + $1 }[...]
    }
}

extension UInt8 {
    fileprivate var isLetter: Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20) }
    fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
    /// A digit, or a letter from a to f in either case.
    var isHexDigit: Bool { isDigit || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(self | 0x20) }
}
