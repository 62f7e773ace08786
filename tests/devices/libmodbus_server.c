/* A Modbus TCP server of libmodbus with the values that it is told, for the gateway's tests.
 *
 * Reads lines `unit table address type order value` from standard input up to a line `end`, puts
 * each value into its table with libmodbus's macros, listens on a free port of loopback, prints
 * `listening PORT`, and serves one connection after another until it is ended. libmodbus does not
 * tell units apart over TCP, so the unit is read and left out. Registers that no value stands in
 * hold 0xA5A5, so that a value read from a wrong place is seen.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 512, FILLER = 0xA5A5 };

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

/* Highest register first; returns how many registers the value takes. */
static int encode(const char *type, const char *value, uint16_t *words)
{
    if (!strcmp(type, "f32")) {
        float number = strtof(value, NULL);
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        MODBUS_SET_INT32_TO_INT16(words, 0, bits);
        return 2;
    }
    if (!strcmp(type, "f64")) {
        double number = strtod(value, NULL);
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        MODBUS_SET_INT64_TO_INT16(words, 0, bits);
        return 4;
    }
    if (!strcmp(type, "u64")) {
        uint64_t number = strtoull(value, NULL, 10);
        MODBUS_SET_INT64_TO_INT16(words, 0, number);
        return 4;
    }
    long long number = strtoll(value, NULL, 10);
    if (!strcmp(type, "i64")) {
        MODBUS_SET_INT64_TO_INT16(words, 0, number);
        return 4;
    }
    if (!strcmp(type, "u32") || !strcmp(type, "i32")) {
        MODBUS_SET_INT32_TO_INT16(words, 0, number);
        return 2;
    }
    if (!strcmp(type, "u16") || !strcmp(type, "i16")) {
        words[0] = (uint16_t) number;
        return 1;
    }
    if (!strcmp(type, "u8") || !strcmp(type, "i8")) {
        words[0] = (uint16_t) (0x5A00 | (number & 0xFF));
        return 1;
    }
    if (!strncmp(type, "bit", 3)) {
        int place = atoi(type + 3);
        words[0] = (uint16_t) ((0xFFFF ^ (1 << place)) | ((int) number << place));
        return 1;
    }
    fprintf(stderr, "type %s\n", type);
    exit(1);
}

static void put(uint16_t *table, int address, const char *type, const char *order, const char *value)
{
    uint16_t words[4] = {0};
    int count = encode(type, value, words);
    int low_first = !strcmp(order, "CDAB") || !strcmp(order, "DCBA");
    int swapped = !strcmp(order, "BADC") || !strcmp(order, "DCBA");
    for (int i = 0; i < count; i++) {
        uint16_t word = words[low_first ? count - 1 - i : i];
        table[address + i] = swapped ? (uint16_t) (word << 8 | word >> 8) : word;
    }
}

static modbus_mapping_t *read_values(void)
{
    modbus_mapping_t *map = modbus_mapping_new(SIZE, SIZE, SIZE, SIZE);
    if (map == NULL)
        fail("mapping");
    for (int i = 0; i < SIZE; i++) {
        map->tab_registers[i] = map->tab_input_registers[i] = FILLER;
        map->tab_input_bits[i] = 1;
    }
    char line[256], table[32], type[16], order[16], value[64];
    int unit, address;
    while (fgets(line, sizeof line, stdin) && strcmp(line, "end\n")) {
        if (sscanf(line, "%d %31s %d %15s %15s %63s", &unit, table, &address, type, order, value) != 6
            || address < 0 || address > SIZE - 4) {
            fprintf(stderr, "line: %s", line);
            exit(1);
        }
        if (!strcmp(table, "coils"))
            map->tab_bits[address] = (uint8_t) atoi(value);
        else if (!strcmp(table, "discrete_inputs"))
            map->tab_input_bits[address] = (uint8_t) atoi(value);
        else
            put(!strcmp(table, "holding_registers") ? map->tab_registers : map->tab_input_registers,
                address, type, order, value);
    }
    return map;
}

int main(void)
{
    modbus_mapping_t *map = read_values();
    modbus_t *bus = modbus_new_tcp("127.0.0.1", 0);
    if (bus == NULL)
        fail("context");
    int listener = modbus_tcp_listen(bus, 1);
    if (listener < 0)
        fail("listen");
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *) &address, &length) < 0)
        fail("port");
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);

    while (modbus_tcp_accept(bus, &listener) >= 0) {
        uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
        int received;
        while ((received = modbus_receive(bus, query)) >= 0) {
            if (received > 0 && modbus_reply(bus, query, received, map) < 0)
                break;
        }
        modbus_close(bus);
    }
    fail("accept");
}
