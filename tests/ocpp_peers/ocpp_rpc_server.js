// A central system on ocpp-rpc in strict mode, of OCPP 1.6 and 2.0.1: every message is held against the schemas.
// Environment: PORT. Prints a JSON line for what happens; an order is "limit WATTS SECONDS".
const { RPCServer } = require("ocpp-rpc");
const readline = require("readline");

const say = (what) => console.log(JSON.stringify(what));
const now = () => new Date().toISOString();
const server = new RPCServer({ protocols: ["ocpp2.0.1", "ocpp1.6"], strictMode: true });
let charger = null, transaction = null;

server.on("client", (client) => {
  charger = client;
  say({ connected: { identity: client.identity, protocol: client.protocol } });
  client.on("strictValidationFailure", ({ error }) => say({ invalid: String(error) }));
  const heard = (method, answer) => client.handle(method, ({ params }) => (say({ [method]: params }), answer(params)));
  heard("BootNotification", () => ({ status: "Accepted", interval: 1, currentTime: now() }));
  heard("Heartbeat", () => ({ currentTime: now() }));
  heard("StatusNotification", () => ({}));
  heard("MeterValues", () => ({}));
  const accepted = { status: "Accepted" };
  heard("Authorize", () => (client.protocol === "ocpp1.6" ? { idTagInfo: accepted } : { idTokenInfo: accepted }));
  heard("StartTransaction", () => ({ transactionId: (transaction = 7), idTagInfo: accepted }));
  heard("StopTransaction", () => ({}));
  heard("TransactionEvent", (params) => ((transaction = params.transactionInfo.transactionId), {}));
});

const orders = {
  limit: async (watts, seconds) => {
    const schedule = {
      startSchedule: now(), duration: Number(seconds), chargingRateUnit: "W",
      chargingSchedulePeriod: [{ startPeriod: 0, limit: Number(watts) }],
    };
    const profile = { stackLevel: 0, chargingProfilePurpose: "TxProfile", chargingProfileKind: "Absolute" };
    const answer = charger.protocol === "ocpp1.6"
      ? await charger.call("SetChargingProfile", { connectorId: 1, csChargingProfiles: {
        chargingProfileId: 1, transactionId: transaction, ...profile, chargingSchedule: schedule } })
      : await charger.call("SetChargingProfile", { evseId: 1, chargingProfile: {
        id: 1, transactionId: transaction, ...profile, chargingSchedule: [{ id: 1, ...schedule }] } });
    say({ limited: answer });
    const at = charger.protocol === "ocpp1.6" ? { connectorId: 1 } : { evseId: 1 };
    say({ composite: await charger.call("GetCompositeSchedule", { ...at, duration: 60 }) });
    say({ triggered: await charger.call("TriggerMessage", { requestedMessage: "MeterValues" }) });
    say({ cleared: await charger.call("ClearChargingProfile",
      charger.protocol === "ocpp1.6" ? { id: 99 } : { chargingProfileId: 99 }) });
  },
};

server.listen(Number(process.env.PORT), "127.0.0.1").then(() => say({ listening: true }));
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [order, ...given] = line.trim().split(" ");
  orders[order](...given).catch((error) => say({ failed: String(error) }));
});
