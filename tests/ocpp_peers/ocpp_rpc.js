// A charge point on ocpp-rpc, whose strict mode holds every message against the schemas of the OCPP consortium.
// Environment: ENDPOINT, IDENTITY, PROTOCOL (ocpp1.6). Prints a JSON line for what happens; reads lines as orders.
const { RPCClient } = require("ocpp-rpc");
const readline = require("readline");

const say = (what) => console.log(JSON.stringify(what));
const now = () => new Date().toISOString();
const { ENDPOINT, IDENTITY, PASSWORD } = process.env;
const client = new RPCClient({
  endpoint: ENDPOINT,
  identity: IDENTITY,
  password: PASSWORD,
  protocols: ["ocpp1.6"],
  strictMode: true,
});
let limitW = 11000, transaction = null, wh = 5000;

client.on("strictValidationFailure", ({ error }) => say({ invalid: String(error) }));
client.handle("GetConfiguration", () => ({
  configurationKey: [{ key: "ChargingScheduleAllowedChargingRateUnit", readonly: true, value: "Power" }],
}));
client.handle("ChangeConfiguration", ({ params }) => (say({ configured: params }), { status: "Accepted" }));
client.handle("TriggerMessage", () => ({ status: "NotImplemented" }));
client.handle("SetChargingProfile", ({ params }) => {
  limitW = params.csChargingProfiles.chargingSchedule.chargingSchedulePeriod[0].limit;
  say({ profile: params.csChargingProfiles });
  return { status: "Accepted" };
});
client.handle("GetCompositeSchedule", ({ params }) => ({
  status: "Accepted",
  connectorId: params.connectorId,
  scheduleStart: now(),
  chargingSchedule: { chargingRateUnit: "W", chargingSchedulePeriod: [{ startPeriod: 0, limit: limitW }] },
}));

const status = (status) => client.call("StatusNotification", { connectorId: 1, errorCode: "NoError", status });
const meter = () =>
  client.call("MeterValues", {
    connectorId: 1,
    transactionId: transaction,
    meterValue: [
      {
        timestamp: now(),
        sampledValue: [
          { value: String(limitW), measurand: "Power.Active.Import", unit: "W" },
          { value: String((wh += 1)), measurand: "Energy.Active.Import.Register", unit: "Wh" },
        ],
      },
    ],
  });
const orders = {
  plug: () => status("Preparing"),
  start: async () => {
    const answer = await client.call("StartTransaction", {
      connectorId: 1, idTag: "TAG1", meterStart: wh, timestamp: now(),
    });
    transaction = answer.transactionId;
    await status("Charging");
    say({ started: answer });
    const timer = setInterval(() => (transaction === null ? clearInterval(timer) : meter().catch(() => {})), 200);
  },
  stop: async () => {
    const transactionId = transaction;
    transaction = null;
    say({ stopped: await client.call("StopTransaction", { transactionId, meterStop: wh, timestamp: now() }) });
    await status("Available");
  },
  stranger: async () => say({ authorized: await client.call("Authorize", { idTag: "STRANGER" }) }),
  quit: () => client.close().then(() => process.exit(0)),
};

(async () => {
  await client.connect();
  say({ booted: await client.call("BootNotification", { chargePointVendor: "ocpp-rpc", chargePointModel: "M" }) });
  await status("Available");
  readline.createInterface({ input: process.stdin }).on("line", (line) =>
    Promise.resolve(orders[line.trim()]()).catch((error) => say({ failed: String(error) })));
})().catch((error) => (say({ failed: String(error) }), process.exit(1)));
