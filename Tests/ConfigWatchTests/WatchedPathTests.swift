import Foundation
import Testing

@testable import ConfigWatch

@Suite("What there is to watch for a path")
struct WatchedPathTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    /// The names looked up in folders below the temporary one, by folder.
    private func names(_ path: WatchedPath) -> [String: Set<String>] {
        let below = path.directories.values.filter { $0.path.hasPrefix(folder.path) }
        return Dictionary(uniqueKeysWithValues: below.map { (String($0.path.dropFirst(folder.path.count)), $0.names) })
    }

    private func file(_ name: String) throws -> WatchedPath.End {
        let identity = try folder.identity(of: name)
        return .file(path: folder(name), FileIdentity(device: UInt64(identity.device), inode: UInt64(identity.inode)))
    }

    @Test("is the file, and each folder from the root")
    func plain() throws {
        try folder.makeFolder("a/b")
        try folder.write("x", to: "a/b/file")
        let path = WatchedPath(resolving: folder("a/b/file"))
        #expect(names(path) == ["": ["a"], "/a": ["b"], "/a/b": ["file"]])
        #expect(path.directories.values.contains { $0.path == "/" })
        #expect(path.end == (try file("a/b/file")))
    }

    @Test("is every link on the way, too, and what it leads to")
    func links() throws {
        // As kubelet lays out a ConfigMap.
        try folder.makeFolder("..1")
        try folder.write("x", to: "..1/config.toml")
        try folder.link("..data", to: "..1")
        try folder.link("config.toml", to: "..data/config.toml")
        let path = WatchedPath(resolving: folder("config.toml"))
        #expect(names(path) == ["": ["config.toml", "..data", "..1"], "/..1": ["config.toml"]])
        #expect(path.end == (try file("..1/config.toml")))
    }

    @Test("follows absolute links, dots, double slashes and parent folders of what a link leads to")
    func components() throws {
        try folder.makeFolder("a/b")
        try folder.write("x", to: "a/file")
        try folder.link("short", to: folder("a/b"))
        let path = WatchedPath(resolving: folder(".//short/./../file"))
        #expect(names(path) == ["": ["short", "a"], "/a": ["b", "file"]])
        #expect(path.end == (try file("a/file")))
    }

    @Test("ends where a name is missing", arguments: ["none", "none/none", "dangling", "file/below"])
    func missing(_ name: String) throws {
        try folder.write("x", to: "file")
        try folder.link("dangling", to: "not/there")
        let path = WatchedPath(resolving: folder(name))
        #expect(path.end == .missing)
        #expect(names(path)[""]?.isEmpty == false)
    }

    @Test("is only folders when it is a folder, and the root alone is nothing")
    func folders() throws {
        #expect(WatchedPath(resolving: folder.path).end == .directory)
        #expect(WatchedPath(resolving: "/").end == .directory)
        #expect(WatchedPath(resolving: "/../..").directories.isEmpty)
    }

    @Test("ends at a loop of links, at 41 of them, and not at 40")
    func loops() throws {
        try folder.link("loop", to: "loop")
        #expect(WatchedPath(resolving: folder("loop")).end == .tooManyLinks)
        try folder.write("x", to: "link0")
        for number in 1...41 { try folder.link("link\(number)", to: "link\(number - 1)") }
        #expect(WatchedPath(resolving: folder("link40")).end == (try file("link0")))
        #expect(WatchedPath(resolving: folder("link41")).end == .tooManyLinks)
    }
}
