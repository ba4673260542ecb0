import Foundation

/// The ways in which people and programs replace the content of a file.
enum Edit: CaseIterable {
    case inPlace, appended, renamedOver, sedInPlace, backupAndRename, deletedAndRecreated, folderReplaced, folderAboveReplaced, linkSwapped,
        configMapSwapped

    /// The file's path within the folder.
    static let file = "top/etc/config.toml"

    func prepare(_ folder: Folder) throws {
        switch self {
        case .linkSwapped:
            try folder.makeFolder("top/etc")
            try folder.write("content 0\n", to: "top/version 0")
            try folder.link(Self.file, to: "../version 0")
        case .configMapSwapped:
            try folder.makeFolder("top/etc/..0")
            try folder.write("content 0\n", to: "top/etc/..0/config.toml")
            try folder.link("top/etc/..data", to: "..0")
            try folder.link(Self.file, to: "..data/config.toml")
        default:
            try folder.makeFolder("top/etc")
            try folder.write("content 0\n", to: Self.file)
        }
    }

    /// Brings the file from `content N-1` to `content N`.
    func perform(_ number: Int, in folder: Folder) throws {
        let text = "content \(number)\n"
        switch self {
        case .inPlace:
            try folder.write(text, to: Self.file)
        case .appended:
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: folder(Self.file)))
            try file.seekToEnd()
            try file.write(contentsOf: Data(text.utf8))
            try file.close()
        case .renamedOver:
            try folder.write(text, to: "top/etc/.new")
            try folder.rename("top/etc/.new", to: Self.file)
        case .sedInPlace:
            let sed = Process()
            sed.executableURL = URL(fileURLWithPath: "/bin/sed")
            sed.arguments = ["-i", "s/content .*/content \(number)/", folder(Self.file)]
            try sed.run()
            sed.waitUntilExit()
        case .backupAndRename:
            // vim with 'backupcopy' off.
            try folder.rename(Self.file, to: Self.file + "~")
            try folder.write(text, to: Self.file)
            try folder.remove(Self.file + "~")
        case .deletedAndRecreated:
            try folder.remove(Self.file)
            try folder.write(text, to: Self.file)
        case .folderReplaced:
            try folder.makeFolder("top/new")
            try folder.write(text, to: "top/new/config.toml")
            try folder.rename("top/etc", to: "top/old")
            try folder.rename("top/new", to: "top/etc")
            try folder.remove("top/old")
        case .folderAboveReplaced:
            try folder.makeFolder("new/etc")
            try folder.write(text, to: "new/etc/config.toml")
            try folder.rename("top", to: "old")
            try folder.rename("new", to: "top")
            try folder.remove("old")
        case .linkSwapped:
            try folder.write(text, to: "top/version \(number)")
            try folder.link("top/new", to: "../version \(number)")
            try folder.rename("top/new", to: Self.file)
        case .configMapSwapped:
            try folder.makeFolder("top/etc/..\(number)")
            try folder.write(text, to: "top/etc/..\(number)/config.toml")
            try folder.link("top/etc/..data_tmp", to: "..\(number)")
            try folder.rename("top/etc/..data_tmp", to: "top/etc/..data")
            try folder.remove("top/etc/..\(number - 1)")
        }
    }
}
