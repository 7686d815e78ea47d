/* libnice behind the lines that our example `ice_agent` speaks (crates/ice/examples).
 *
 *   cc nice_peer.c -o nice_peer $(pkg-config --cflags --libs nice)
 */
#include <nice/agent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PACKETS 100

static gboolean controlling, no_trickle, relay_only, lite, ipv4, json;
static int components = 1, packets = 10;
static char *stun, *turn, *turn_transport, *user, *password;

static GOptionEntry options[] = {
    {"controlling", 0, 0, G_OPTION_ARG_NONE, &controlling, NULL, NULL},
    {"no-trickle", 0, 0, G_OPTION_ARG_NONE, &no_trickle, NULL, NULL},
    {"relay-only", 0, 0, G_OPTION_ARG_NONE, &relay_only, NULL, NULL},
    {"lite", 0, 0, G_OPTION_ARG_NONE, &lite, NULL, NULL},
    {"ipv4", 0, 0, G_OPTION_ARG_NONE, &ipv4, NULL, NULL},
    {"json", 0, 0, G_OPTION_ARG_NONE, &json, NULL, NULL},
    {"components", 0, 0, G_OPTION_ARG_INT, &components, NULL, NULL},
    {"packets", 0, 0, G_OPTION_ARG_INT, &packets, NULL, NULL},
    {"stun", 0, 0, G_OPTION_ARG_STRING, &stun, NULL, NULL},
    {"turn", 0, 0, G_OPTION_ARG_STRING, &turn, NULL, NULL},
    {"turn-transport", 0, 0, G_OPTION_ARG_STRING, &turn_transport, NULL, NULL},
    {"user", 0, 0, G_OPTION_ARG_STRING, &user, NULL, NULL},
    {"password", 0, 0, G_OPTION_ARG_STRING, &password, NULL, NULL},
    {NULL}};

static GMainLoop *loop;
static NiceAgent *agent;
static guint stream;
static gint64 began; /* when the peer's credentials came */
static char *ufrag;
static int ready, asked;
static gboolean connected[3], is_ready[3];
static gint64 sent[3][MOST_PACKETS], echoed[3][MOST_PACKETS];

static void say(const char *line) {
    puts(line);
    fflush(stdout);
}

static gint64 ms(void) { return began ? (g_get_monotonic_time() - began) / 1000 : 0; }

static void tell_state(const char *state) {
    printf("{\"event\":\"state\",\"ms\":%" G_GINT64_FORMAT ",\"state\":\"%s\"}\n", ms(), state);
    fflush(stdout);
}

static void write_address(const NiceAddress *address, char *out) {
    char ip[NICE_ADDRESS_STRING_LEN];
    nice_address_to_string(address, ip);
    sprintf(out, nice_address_ip_version(address) == 6 ? "[%s]:%u" : "%s:%u", ip, nice_address_get_port(address));
}

static void new_candidate(NiceAgent *of, NiceCandidate *candidate, gpointer none) {
    char *line = nice_agent_generate_local_candidate_sdp(of, candidate);
    say(g_str_has_prefix(line, "a=") ? line + 2 : line);
    g_free(line);
}

static void gathered(NiceAgent *of, guint of_stream, gpointer none) { say("end"); }

static int in_order(const void *a, const void *b) {
    gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
    return (x > y) - (x < y);
}

static void tell_data(void) {
    for (int component = 1; component <= components; component++) {
        gint64 times[MOST_PACKETS];
        int count = 0;
        for (int number = 0; number < packets; number++)
            if (echoed[component][number])
                times[count++] = echoed[component][number] - sent[component][number];
        qsort(times, count, sizeof times[0], in_order);
        printf("{\"event\":\"data\",\"ms\":%" G_GINT64_FORMAT ",\"component\":%d,\"sent\":%d,\"echoed\":%d,"
               "\"round_trip_us\":%" G_GINT64_FORMAT "}\n",
               ms(), component, packets, count, count ? times[count / 2] : 0);
        fflush(stdout);
    }
}

static gboolean all_echoed(void) {
    for (int component = 1; component <= components; component++)
        for (int number = 0; number < packets; number++)
            if (!echoed[component][number])
                return FALSE;
    return TRUE;
}

/* Every 20 ms: a packet on each component, then waiting for the last echoes. */
static gboolean talk(gpointer none) {
    if (asked < packets) {
        for (int component = 1; component <= components; component++) {
            char text[32];
            int length = sprintf(text, "ping %d", asked);
            sent[component][asked] = g_get_monotonic_time();
            nice_agent_send(agent, stream, component, length, text);
        }
    } else if (all_echoed() || asked > packets + 100) {
        tell_data();
        return G_SOURCE_REMOVE;
    }
    asked++;
    return G_SOURCE_CONTINUE;
}

static void hear(NiceAgent *of, guint of_stream, guint component, guint length, gchar *bytes, gpointer none) {
    char text[64] = "";
    if (length >= sizeof text || component > 2)
        return;
    memcpy(text, bytes, length);
    int number = length > 5 ? atoi(text + 5) : -1;
    if (g_str_has_prefix(text, "ping ")) {
        memcpy(text, "echo", 4);
        nice_agent_send(of, of_stream, component, length, text);
    } else if (g_str_has_prefix(text, "echo ") && number >= 0 && number < packets && !echoed[component][number]) {
        echoed[component][number] = g_get_monotonic_time();
    }
}

static void state_changed(NiceAgent *of, guint of_stream, guint component, guint state, gpointer none) {
    if (state == NICE_COMPONENT_STATE_FAILED)
        tell_state("failed");
    if (state == NICE_COMPONENT_STATE_CONNECTED && !connected[component]) {
        connected[component] = TRUE;
        if (connected[1] && connected[components])
            tell_state("connected");
    }
    if (state == NICE_COMPONENT_STATE_READY && !is_ready[component]) {
        NiceCandidate *local, *remote;
        is_ready[component] = TRUE;
        if (nice_agent_get_selected_pair(of, of_stream, component, &local, &remote)) {
            char here[80], there[80];
            write_address(&local->addr, here);
            write_address(&remote->addr, there);
            printf("{\"event\":\"selected\",\"ms\":%" G_GINT64_FORMAT
                   ",\"component\":%u,\"local\":\"%s\",\"remote\":\"%s\",\"relayed\":%s}\n",
                   ms(), component, here, there, local->type == NICE_CANDIDATE_TYPE_RELAYED ? "true" : "false");
            fflush(stdout);
        }
        if (++ready == components) {
            tell_state("completed");
            g_timeout_add(20, talk, NULL);
        }
    }
}

static void introduce(void) {
    char *own_ufrag, *own_password;
    nice_agent_get_local_credentials(agent, stream, &own_ufrag, &own_password);
    if (lite)
        say("lite");
    printf("ufrag %s\npwd %s\n", own_ufrag, own_password);
    fflush(stdout);
    g_free(own_ufrag);
    g_free(own_password);
}

/* The other end has begun anew: so do we, with the candidates that we have. */
static void restart(void) {
    nice_agent_restart(agent);
    introduce();
    for (int component = 1; component <= components; component++) {
        GSList *all = nice_agent_get_local_candidates(agent, stream, component);
        for (GSList *each = all; each; each = each->next)
            new_candidate(agent, each->data, NULL);
        g_slist_free_full(all, (GDestroyNotify)nice_candidate_free);
        connected[component] = is_ready[component] = FALSE;
    }
    say("end");
    ready = asked = 0;
    memset(sent, 0, sizeof sent);
    memset(echoed, 0, sizeof echoed);
}

/* A line of the other end, on the main loop. */
static gboolean take(gpointer data) {
    char *line = data, *rest = strchr(line, ' ');
    rest = rest ? rest + 1 : line + strlen(line);
    if (g_str_has_prefix(line, "ufrag ")) {
        ufrag = g_strdup(rest);
    } else if (g_str_has_prefix(line, "pwd ")) {
        if (began)
            restart();
        began = g_get_monotonic_time();
        nice_agent_set_remote_credentials(agent, stream, ufrag, rest);
    } else if (!strcmp(line, "end")) {
        nice_agent_peer_candidate_gathering_done(agent, stream);
    } else if (strstr(line, "candidate:")) {
        char *attribute = g_strdup_printf("a=%s", line);
        NiceCandidate *candidate = nice_agent_parse_remote_candidate_sdp(agent, stream, attribute);
        if (candidate) {
            GSList *one = g_slist_append(NULL, candidate);
            nice_agent_set_remote_candidates(agent, stream, candidate->component_id, one);
            g_slist_free_full(one, (GDestroyNotify)nice_candidate_free);
        }
        g_free(attribute);
    }
    g_free(line);
    return G_SOURCE_REMOVE;
}

static gboolean quit(gpointer none) {
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static gpointer read_lines(gpointer none) {
    char line[2048];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\r\n")] = 0;
        g_idle_add(take, g_strdup(line));
    }
    g_idle_add(quit, NULL);
    return NULL;
}

static void split(const char *address, char *host, guint *port) {
    const char *colon = strrchr(address, ':');
    g_strlcpy(host, address, MIN(64, colon - address + 1));
    *port = atoi(colon + 1);
}

int main(int count, char **words) {
    GOptionContext *context = g_option_context_new("");
    GError *error = NULL;
    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &count, &words, &error) || packets > MOST_PACKETS || components > 2) {
        fprintf(stderr, "nice_peer: %s\n", error ? error->message : "too many");
        return 2;
    }
    loop = g_main_loop_new(NULL, FALSE);
    NiceAgentOption kind = NICE_AGENT_OPTION_REGULAR_NOMINATION | NICE_AGENT_OPTION_CONSENT_FRESHNESS;
    if (!no_trickle)
        kind |= NICE_AGENT_OPTION_ICE_TRICKLE;
    if (lite)
        kind |= NICE_AGENT_OPTION_LITE_MODE;
    agent = nice_agent_new_full(g_main_loop_get_context(loop), NICE_COMPATIBILITY_RFC5245, kind);
    g_object_set(agent, "controlling-mode", controlling, "ice-tcp", FALSE, "upnp", FALSE, "force-relay", relay_only, NULL);
    if (stun) {
        char host[64];
        guint port;
        split(stun, host, &port);
        g_object_set(agent, "stun-server", host, "stun-server-port", port, NULL);
    }
    g_signal_connect(agent, "new-candidate-full", G_CALLBACK(new_candidate), NULL);
    g_signal_connect(agent, "candidate-gathering-done", G_CALLBACK(gathered), NULL);
    g_signal_connect(agent, "component-state-changed", G_CALLBACK(state_changed), NULL);
    stream = nice_agent_add_stream(agent, components);
    nice_agent_set_stream_name(agent, stream, "audio");
    for (int component = 1; component <= components; component++) {
        nice_agent_attach_recv(agent, stream, component, g_main_loop_get_context(loop), hear, NULL);
        if (turn) {
            char host[64];
            guint port;
            NiceRelayType way = !g_strcmp0(turn_transport, "tcp") ? NICE_RELAY_TYPE_TURN_TCP : NICE_RELAY_TYPE_TURN_UDP;
            split(turn, host, &port);
            nice_agent_set_relay_info(agent, stream, component, host, port, user, password, way);
        }
    }
    introduce();
    nice_agent_gather_candidates(agent, stream);
    g_thread_new("lines", read_lines, NULL);
    g_main_loop_run(loop);
    g_object_unref(agent);
    return 0;
}
