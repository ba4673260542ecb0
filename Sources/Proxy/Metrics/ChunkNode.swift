/// One chunk as the builder sees it. Guarded by the store's builder lock, like everything of `ChunkBuilder`.
final class ChunkNode {
    struct Slot {
        let record: AppRecord
        /// The version that the next snapshot shows; `nil` when the app has been removed.
        var app: StoredApp?
    }

    /// In order of name; never empty.
    var slots: [Slot]
    /// The chunk of these slots, as they were when it was built.
    let chunk: Chunk
    /// What the slots weigh together (`ChunkBuilder.weight`), when the chunk was built.
    let weight: Int
    /// New apps that belong here, in order of name.
    var additions: [Slot] = []
    var isChanged = false

    /// Places the records here.
    init(slots: [Slot], chunk: Chunk, weight: Int) {
        self.slots = slots
        self.chunk = chunk
        self.weight = weight
        for index in slots.indices {
            slots[index].record.node = self
            slots[index].record.slot = index
        }
    }
}
