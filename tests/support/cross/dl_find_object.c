/* support/cross/dl_find_object.c - what the unwinder of a gcc that was built for glibc asks the
 * dynamic linker, for programs that musl-gcc links. A gcc of musl's own does not ask.
 * SPDX-License-Identifier: MIT */
#include <link.h>
#include <stddef.h>

/* As in glibc's <dlfcn.h>. */
struct dl_find_object {
    unsigned long long flags;
    void *map_start, *map_end;
    struct link_map *link_map;
    void *eh_frame;
    unsigned long long reserved[7];
};

struct search {
    uintptr_t pc;
    struct dl_find_object *found;
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *s = arg;
    int here = 0;
    (void)size;
    s->found->eh_frame = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_GNU_EH_FRAME)
            s->found->eh_frame = (void *)at;
        if (p->p_type != PT_LOAD || s->pc < at || s->pc - at >= p->p_memsz)
            continue;
        here = 1;
        s->found->map_start = (void *)at;
        s->found->map_end = (void *)(at + p->p_memsz);
    }
    return here && s->found->eh_frame;
}

int _dl_find_object(void *pc, struct dl_find_object *result)
{
    struct search s = { (uintptr_t)pc, result };
    *result = (struct dl_find_object){ 0 };
    return dl_iterate_phdr(look, &s) ? 0 : -1;
}
